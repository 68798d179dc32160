package cluster

import (
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// peer is what this node knows of another one. The Bus's calls guards it, but
// for to, which mu guards.
//
// A peer that has been heard is asked for what it has; it is joined, and the
// Member told of it, when that has come and it is known how its clock runs: only
// then can its messages be told from those that were held up on their way.
type peer struct {
	node    federation.NodeID
	name    string
	to      destination
	joined  bool
	clock   offset
	heard   int64 // when it was last known to be alive; µs
	asked   int64 // when it was last asked for what it has
	sent    int64 // when it was last sent a snapshot
	since   int64 // when it was joined
	warned  int64 // when to warn again of another node with its name
	numbers map[string]uint64

	// What it has, up to seq; told is the latest number that was heard of.
	seq     uint64
	told    uint64
	devices map[string]federation.Holding
	users   map[string]struct{}
	wants   map[string]uint64 // the number of the subscription

	snapshot *snapshot // that is arriving
	waiting  []waiting // changes that cannot be applied before a snapshot
	bytes    int       // of waiting
}

// waiting is a change, as a record, after one that is missing.
type waiting struct {
	kind recordKind
	body string
}

// Bounds of what is kept of other nodes.
const (
	maxPeers   = 1024
	maxChanges = 1 << 20 // bytes of changes that wait for a snapshot
)

// meet begins with a node that was not known.
func (b *Bus) meet(node federation.NodeID, at int64) *peer {
	if until, ok := b.departed[node]; ok && at < until || len(b.peers) >= maxPeers {
		return nil
	}
	p := &peer{
		node: node, heard: at, asked: at - b.options.Timeout.Microseconds(),
		to:      destination{node: node, channel: b.names.ofNode(node)},
		numbers: map[string]uint64{}, devices: map[string]federation.Holding{},
		users: map[string]struct{}{}, wants: map[string]uint64{},
	}
	b.peers[node] = p
	b.ask(p, at)
	return p
}

func (p *peer) named(name string) {
	if name != p.name {
		p.name = strings.Clone(name)
	}
}

// interned returns a channel's name that does not keep a packet in memory.
func (b *Bus) interned(channel string) string {
	switch channel {
	case b.all.channel:
		return b.all.channel
	case b.self.channel:
		return b.self.channel
	}
	return strings.Clone(channel)
}

// ask asks a node for what it has and how late it is there, not more often than
// every half of the timeout.
func (b *Bus) ask(p *peer, at int64) {
	if at-p.asked < b.options.Timeout.Microseconds()/2 {
		return
	}
	p.asked = at
	b.control(p, func(buf []byte) []byte {
		return appendNumbers(buf, recordAsk, b.options.Name, uint64(at), p.seq)
	})
}

// control adds a record about the nodes themselves to what waits for one.
func (b *Bus) control(p *peer, appendRecord func([]byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.up && p.to.waiting <= maxControl {
		b.enqueue(&p.to, 0, appendRecord)
	}
}

// answer tells a node what it asked for: a snapshot too, if it has not all that
// this node has.
func (b *Bus) answer(p *peer, at int64, asked, have uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || p.to.waiting > maxControl {
		return
	}
	b.enqueue(&p.to, 0, func(buf []byte) []byte {
		return appendNumbers(buf, recordAnswer, b.options.Name, asked, b.own.seq)
	})
	if have == b.own.seq || have == noSnapshot || at-p.sent < b.options.Timeout.Microseconds()/4 {
		return
	}
	p.sent = at
	rs := records(stringOf(b.own.current()))
	for rs != "" {
		begin := rs
		n := 0
		for rs != "" && n < maxPacket/2 {
			_, _, _, _ = rs.next()
			n = len(begin) - len(rs)
		}
		b.enqueue(&p.to, n, func(buf []byte) []byte { return append(buf, begin[:n]...) })
	}
}

// answered takes an answer: to what was asked at that time of this node's clock.
func (b *Bus) answered(p *peer, sent, at, asked int64, seq uint64) {
	if asked <= at && at-asked <= b.options.Timeout.Microseconds() {
		p.clock.exchange(asked, sent, at)
	}
	switch {
	case !p.joined && p.clock.known && seq == p.seq:
		b.join(p)
		b.catchUp(p, at)
	case seq > p.seq:
		p.told = max(p.told, seq)
		b.ask(p, at)
	}
}

// join makes a peer known to the Member.
func (b *Bus) join(p *peer) {
	p.joined, p.since = true, b.now()
	b.mu.Lock()
	b.nodes[p.node] = &p.to
	b.mu.Unlock()
	b.log.Info().Str("node", nodeHex(p.node)).Str("name", p.name).Msg("node is there")
	b.member.NodeJoined(p.node, p.name)
}

// namesakeInterval is how often the log says that two nodes have one name.
const namesakeInterval = time.Minute

// warnOfNamesakes says so in the log when a peer has the name of this node or of
// another peer. Both must have been heard of late, after the newer one has been
// there for a while: a node that died and was started again is no namesake.
func (b *Bus) warnOfNamesakes(p *peer, at int64) {
	while := part(b.options.TTL, 2)
	lives := func(x *peer) bool { return x.joined && at-x.since >= while && at-x.heard < while }
	if at < p.warned || !lives(p) {
		return
	}
	other, same := b.id, p.name == b.options.Name
	for _, x := range b.peers {
		if !same && x != p && x.name == p.name && lives(x) {
			other, same = x.node, true
		}
	}
	if same {
		p.warned = at + namesakeInterval.Microseconds()
		b.log.Error().Str("name", p.name).Str("node", nodeHex(p.node)).Str("other", nodeHex(other)).
			Msg("two nodes have the same name: listings, notices and silent_nodes do not tell one from the other; stop one of them and start it with another --node")
	}
}

// lose forgets a peer that has gone.
func (b *Bus) lose(p *peer, why federation.Departure, at int64) {
	delete(b.peers, p.node)
	if why == federation.NodeClosed {
		b.departed[p.node] = at + b.options.TTL.Microseconds()
	}
	b.mu.Lock()
	delete(b.nodes, p.node)
	for device := range p.wants {
		b.unwanted(device)
	}
	b.mu.Unlock()
	if p.joined {
		b.log.Info().Str("node", nodeHex(p.node)).Str("name", p.name).Str("reason", string(why)).Msg("node is gone")
		b.member.NodeLeft(p.node, why)
	}
}

// unwanted notes that one node less wants a device's telemetry. mu is held.
func (b *Bus) unwanted(device string) {
	if b.wanted[device]--; b.wanted[device] > 0 {
		return
	}
	delete(b.wanted, device)
	if s := b.queue.streams[device]; s != nil && !s.due {
		delete(b.queue.streams, device)
	}
}
