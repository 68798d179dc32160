package router

import (
	"strconv"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

const (
	// maxDevicePending bounds the commands that wait for one device.
	// Options.MaxPending bounds only the commands of one front end, and many front
	// ends may command one device.
	maxDevicePending = 16384
	// maxRemotePending bounds the commands of this node that wait for devices on
	// other nodes.
	maxRemotePending = 65536
	// urgentDivisor: limit/urgentDivisor places of a table, and of the commands of a
	// credential, are reserved for urgent commands.
	urgentDivisor = 8
	// ownerFactor: the commands of all sessions with one credential are bounded by
	// ownerFactor times Options.MaxPending.
	ownerFactor = 16
)

// pendingTable holds commands that wait for their answers. Each device connection
// has a table, and one table is for all devices on other nodes. A command leaves
// its table once, and the goroutine that takes the command from the table tells
// the asker the outcome.
type pendingTable struct {
	// Static.
	limit int
	// target says in error texts what the commands wait for.
	target string

	// mu guards the rest. Lock order: registry.mu, mu, the wheel's lock.
	mu sync.Mutex
	// byID finds commands by wireID.
	byID map[string]*command
	// renamed finds the commands whose wireID differs from the asker's id, by
	// the asker's id.
	renamed map[askedAs]*command
	// lastNumber is the number of the last remote command.
	lastNumber uint64
	closed     bool
}

// askedAs identifies a command by its asker, its device and the asker's id.
type askedAs struct {
	asker      asker
	device, id string
}

// enter puts the command into the table under a unique id, and sets its
// deadline. When two askers use the same id at the same time, the device gets
// the second command under another id.
func (t *pendingTable) enter(c *command, deadline time.Time) *protocol.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return deviceOffline(c.device)
	case len(t.byID) >= t.limit, !c.urgent && len(t.byID) >= t.limit-t.limit/urgentDivisor:
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(len(t.byID))+" commands wait for "+t.target+" already; try again later")
	case t.asked(c):
		return protocol.NewError(protocol.ErrBadMessage, `field "id": a command with that id waits for this device's answer already; use a new one for each command`)
	}
	if t.byID == nil {
		t.byID = make(map[string]*command)
	}
	if c.node != 0 {
		t.lastNumber++
		c.wireID = string(commandNumber(t.lastNumber))
	} else {
		c.wireID = c.askedID
		for t.byID[c.wireID] != nil {
			var b [16]byte
			c.wireID = string(strconv.AppendUint(append(b[:0], '~'), c.r.lastCommand.Add(1), 36))
		}
	}
	t.byID[c.wireID] = c
	if c.renamed() {
		if t.renamed == nil {
			t.renamed = make(map[askedAs]*command)
		}
		t.renamed[c.askedAs()] = c
	}
	if !c.asker.began(c) {
		t.remove(c)
		return protocol.NewError(protocol.ErrNotFound, "the session that sent the command has ended")
	}
	c.r.manager.Wheel().Schedule(&c.timer, deadline)
	return nil
}

// asked reports whether a command of c's asker with the same id is in the
// table already. The caller holds mu.
func (t *pendingTable) asked(c *command) bool {
	if other := t.byID[c.askedID]; other != nil && other.askedAs() == c.askedAs() {
		return true
	}
	return t.renamed[c.askedAs()] != nil
}

// take removes and returns the command with a wireID whose device is on a node,
// nil for none.
func (t *pendingTable) take(wireID []byte, node federation.NodeID) *command {
	t.mu.Lock()
	c := t.byID[string(wireID)]
	if c == nil || c.node != node {
		t.mu.Unlock()
		return nil
	}
	t.remove(c)
	c.ended()
	t.mu.Unlock()
	return c
}

// takeIf removes the command if it is in the table, and reports whether it was.
func (t *pendingTable) takeIf(c *command) bool {
	t.mu.Lock()
	if t.byID[c.wireID] != c {
		t.mu.Unlock()
		return false
	}
	t.remove(c)
	c.ended()
	t.mu.Unlock()
	return true
}

// takeAll removes and returns the commands for devices on a node, or with 0 all
// commands.
func (t *pendingTable) takeAll(node federation.NodeID) []*command {
	t.mu.Lock()
	all := t.removeAll(node)
	t.mu.Unlock()
	return all
}

// close removes and returns all commands. The table refuses further commands.
func (t *pendingTable) close() []*command {
	t.mu.Lock()
	t.closed = true
	all := t.removeAll(0)
	t.mu.Unlock()
	return all
}

// count returns the number of commands in the table.
func (t *pendingTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// removeAll is takeAll with mu held.
func (t *pendingTable) removeAll(node federation.NodeID) []*command {
	var all []*command
	for _, c := range t.byID {
		if node == 0 || c.node == node {
			t.remove(c)
			c.ended()
			all = append(all, c)
		}
	}
	return all
}

// maxOwnerPending bounds the commands of all sessions with one credential.
func (r *Router) maxOwnerPending() int { return ownerFactor * r.opts.MaxPending }

// remove removes c from the maps. The caller holds mu.
func (t *pendingTable) remove(c *command) {
	delete(t.byID, c.wireID)
	if c.renamed() {
		delete(t.renamed, c.askedAs())
	}
}

func (c *command) askedAs() askedAs { return askedAs{c.asker, c.device, c.askedID} }

// ended cancels the deadline of a command that left its table, and lets the asker
// count the command as ended. The caller holds the table's lock.
func (c *command) ended() {
	c.r.manager.Wheel().Cancel(&c.timer)
	c.asker.ended(c)
}
