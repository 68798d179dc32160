package router

import (
	"maps"
	"slices"
	"sync"

	"github.com/labgate/labgate/router/federation"
)

// peerDirectory has the names, devices and users of the other nodes. Readers do
// not need registry.mu.
type peerDirectory struct {
	// mu guards the rest; a leaf.
	mu sync.RWMutex
	// names has the name of every other node on the bus.
	names map[federation.NodeID]string
	// holders has the node that holds a device, by device id.
	holders map[string]federation.NodeID
	// users has the nodes that have sessions of a user, by user. Writers replace
	// the lists, because readers may still use the old ones.
	users map[string][]federation.NodeID
}

func newPeerDirectory() peerDirectory {
	return peerDirectory{
		names: make(map[federation.NodeID]string), holders: make(map[string]federation.NodeID), users: make(map[string][]federation.NodeID),
	}
}

// holder returns the node that holds a device.
func (p *peerDirectory) holder(device []byte) (federation.NodeID, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	id, ok := p.holders[string(device)]
	return id, ok
}

// nodesWithUser returns the nodes that have sessions of a user.
func (p *peerDirectory) nodesWithUser(user []byte) []federation.NodeID {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.users[string(user)]
}

// name returns a node's name and whether the node is on the bus.
func (p *peerDirectory) name(node federation.NodeID) (string, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	name, ok := p.names[node]
	return name, ok
}

// namesOf returns the names of some nodes.
func (p *peerDirectory) namesOf(nodes []federation.NodeID) map[federation.NodeID]string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	names := make(map[federation.NodeID]string, len(nodes))
	for _, node := range nodes {
		names[node] = p.names[node]
	}
	return names
}

// all returns the names of all other nodes.
func (p *peerDirectory) all() map[federation.NodeID]string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return maps.Clone(p.names)
}

// any reports whether another node is on the bus.
func (p *peerDirectory) any() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.names) > 0
}

func (p *peerDirectory) setHolder(device string, node federation.NodeID, holds bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if holds {
		p.holders[device] = node
	} else {
		delete(p.holders, device)
	}
}

// setUser records whether a node has sessions of a user.
func (p *peerDirectory) setUser(node federation.NodeID, user string, here bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := without(p.users[user], node)
	if here {
		left = append(left, node)
	}
	p.setUsers(user, left)
}

func (p *peerDirectory) setNode(node federation.NodeID, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[node] = name
}

// removeNode forgets a node and its users.
func (p *peerDirectory) removeNode(node federation.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.names, node)
	for user, nodes := range p.users {
		if slices.Contains(nodes, node) {
			p.setUsers(user, without(nodes, node))
		}
	}
}

// setUsers sets the nodes that have sessions of a user. The caller holds mu.
func (p *peerDirectory) setUsers(user string, nodes []federation.NodeID) {
	if len(nodes) == 0 {
		delete(p.users, user)
	} else {
		p.users[user] = nodes
	}
}

// Nodes returns the names of the other nodes on the bus.
func (r *Router) Nodes() map[federation.NodeID]string { return r.peers.all() }

// HeldElsewhere reports whether another node holds a device.
func (r *Router) HeldElsewhere(device string) bool {
	_, held := r.peers.holder([]byte(device))
	return held
}
