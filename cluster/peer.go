package cluster

import (
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// peer is what this node knows of another node. The Bus's calls guards it, except
// to, which mu guards.
//
// A peer joins, and the Member is told of it, when its state has arrived and the
// difference between the two clocks is known: only then can messages that arrive
// in time be told from those that were delayed.
type peer struct {
	node    federation.NodeID
	name    string
	to      destination
	joined  bool
	clock   clockOffset
	numbers map[string]uint64 // of the last packet on each channel

	// Times of this node's clock, µs.
	lastHeard   int64 // when the peer was last known to be alive
	lastRequest int64 // when this node last requested the peer's state
	lastSent    int64 // when this node last sent the peer a snapshot
	joinedAt    int64
	nextWarning int64 // when to warn again of another node with its name

	// The peer's state, up to change seq. announced is the latest change that this
	// node has heard of.
	seq, announced uint64
	devices        map[string]federation.Holding
	users          map[string]struct{}
	interests      map[string]uint64 // number of the subscription, by device
	// released has the epoch of each device's last release that the Member knows.
	released map[string]uint64

	snapshot     *snapshot // the one that is arriving; nil when none is
	waiting      []change  // changes that come after one that is missing
	waitingBytes int
}

// change is a change of a peer's state, as a record.
type change struct {
	kind recordKind
	body string
}

// Limits of what is kept of other nodes.
const (
	maxPeers   = 1024
	maxChanges = 1 << 20 // bytes of peer.waiting
)

// addPeer adds a node that was not known, and requests its state. It returns nil
// when there are too many, or when the node has announced to leave.
func (b *Bus) addPeer(node federation.NodeID, at int64) *peer {
	if until, ok := b.departed[node]; ok && at < until || len(b.peers) >= maxPeers {
		return nil
	}
	p := &peer{
		node: node, lastHeard: at, lastRequest: at - b.options.Timeout.Microseconds(),
		to:      destination{node: node, channel: b.names.ofNode(node)},
		numbers: map[string]uint64{}, devices: map[string]federation.Holding{},
		users: map[string]struct{}{}, interests: map[string]uint64{}, released: map[string]uint64{},
	}
	b.peers[node] = p
	b.requestSync(p, at)
	return p
}

func (p *peer) setName(name string) {
	if name != p.name {
		p.name = strings.Clone(name)
	}
}

// interned returns a channel's name that shares no memory with a packet.
func (b *Bus) interned(channel string) string {
	switch channel {
	case b.all.channel:
		return b.all.channel
	case b.self.channel:
		return b.self.channel
	}
	return strings.Clone(channel)
}

// peerJoined tells the Member of a peer.
func (b *Bus) peerJoined(p *peer) {
	p.joined, p.joinedAt = true, b.now()
	b.mu.Lock()
	b.nodes[p.node] = &p.to
	b.mu.Unlock()
	b.log.Info().Str("node", nodeHex(p.node)).Str("name", p.name).Msg("node has joined")
	b.member.NodeJoined(p.node, p.name)
}

// removePeer forgets a peer that has gone, and tells the Member.
func (b *Bus) removePeer(p *peer, why federation.Departure, at int64) {
	delete(b.peers, p.node)
	if why == federation.NodeClosed {
		b.departed[p.node] = at + b.options.TTL.Microseconds()
	}
	b.mu.Lock()
	delete(b.nodes, p.node)
	for device := range p.interests {
		b.interestEnded(device)
	}
	b.mu.Unlock()
	if p.joined {
		b.log.Info().Str("node", nodeHex(p.node)).Str("name", p.name).Str("reason", string(why)).Msg("node is gone")
		b.member.NodeLeft(p.node, why)
	}
}

// interestEnded notes that a peer is not interested in a device's telemetry any
// longer. mu is held.
func (b *Bus) interestEnded(device string) {
	if b.interest[device]--; b.interest[device] > 0 {
		return
	}
	delete(b.interest, device)
	if s := b.queue.streams[device]; s != nil && !s.due {
		delete(b.queue.streams, device)
	}
}

// namesakeInterval is how often the log says that two nodes have the same name.
const namesakeInterval = time.Minute

// warnOfNamesakes logs an error when a peer has the name of this node or of
// another peer. A node that died and was started again is no namesake: both must
// have been heard of late, after the newer one was there for a while.
func (b *Bus) warnOfNamesakes(p *peer, at int64) {
	while := part(b.options.TTL, 2)
	alive := func(x *peer) bool { return x.joined && at-x.joinedAt >= while && at-x.lastHeard < while }
	if at < p.nextWarning || !alive(p) {
		return
	}
	other, same := b.id, p.name == b.options.Name
	for _, x := range b.peers {
		if !same && x != p && x.name == p.name && alive(x) {
			other, same = x.node, true
		}
	}
	if same {
		p.nextWarning = at + namesakeInterval.Microseconds()
		b.log.Error().Str("name", p.name).Str("node", nodeHex(p.node)).Str("other", nodeHex(other)).
			Msg("two nodes have the same name: listings and notices do not tell one from the other; stop one of them and start it with another --node")
	}
}
