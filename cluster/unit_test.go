package cluster

import (
	"testing"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// testBus returns a bus that is up as far as it knows, without Redis, so that
// what it wants to say stays in its queue. Its clock stands still at a second
// until a test changes b.now.
func testBus(t testing.TB) (*Bus, *member) {
	t.Helper()
	b, err := New(Options{URL: "redis://127.0.0.1", Name: "self", TTL: 10 * time.Second, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cancel)
	b.at(time.Second)
	m := newMember(t, b)
	b.member, b.up, b.joined = m, true, true
	return b, m
}

// at sets the bus's clock.
func (b *Bus) at(d time.Duration) { b.now = func() int64 { return d.Microseconds() } }

// known makes another node known to a bus, with a clock that agrees with its own.
func known(b *Bus, id federation.NodeID) *peer {
	b.calls.Lock()
	defer b.calls.Unlock()
	p := b.addPeer(id, b.now())
	b.syncReplied(p, b.now(), b.now(), b.now(), 0)
	return p
}

// hears gives a bus a packet.
func (b *Bus) hears(channel string, h header, records ...[]byte) {
	rc := &redisConn{bus: b, live: true, probeIn: make(chan struct{}, 1)}
	rc.dispatch(channel, packetOf(h, records...))
}

// said returns the records that wait for a destination, and empties the queue.
func (b *Bus) said(to *destination) (kinds []recordKind, bodies []reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.queue.drop() {
		for rs := records(p.buf[headerSize:]); rs != "" && p.to == to; {
			kind, body, _, _ := rs.next()
			kinds, bodies = append(kinds, kind), append(bodies, body)
		}
	}
	return kinds, bodies
}

func message(corr uint64, text string) *federation.Message {
	return &federation.Message{Kind: federation.KindAnswer, Corr: corr, Text: []byte(text)}
}
