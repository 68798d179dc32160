//go:build linux

package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lesismal/nbio/nbhttp/websocket"
)

// counters are shared by all pollers.
type counters struct {
	accepted, received, forwarded, dropped atomic.Int64
}

// sent counts one message in and, unless the write failed, one out.
func (n *counters) sent(err error) {
	n.received.Add(1)
	if err != nil {
		n.dropped.Add(1)
		return
	}
	n.forwarded.Add(1)
}

const relayPath = "/relay/"

// relay forwards each message with one write to the other connection of the
// same path.
type relay struct {
	count *counters
	mu    sync.Mutex
	pairs map[string]*pair // with a place free or taken, none left; guarded by mu
}

// pair is the two connections of one path.
type pair struct {
	key  string
	used int // places given away; guarded by relay.mu
	ends [2]atomic.Pointer[websocket.Conn]
}

// end is a connection's place in its pair.
type end struct {
	pair *pair
	side int
}

func newRelay(count *counters) *relay { return &relay{count: count, pairs: map[string]*pair{}} }

func (r *relay) admit(path string) (any, error) {
	key, ok := strings.CutPrefix(path, relayPath)
	if !ok || key == "" {
		return nil, fmt.Errorf("path %q: use %sKEY", path, relayPath)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pairs[key]
	if p == nil {
		p = &pair{key: key}
		r.pairs[key] = p
	}
	if p.used == len(p.ends) {
		return nil, fmt.Errorf("%s has its two connections", path)
	}
	p.used++
	return &end{pair: p, side: p.used - 1}, nil
}

func (r *relay) opened(session any, c *websocket.Conn) {
	e := session.(*end)
	e.pair.ends[e.side].Store(c)
}

func (r *relay) message(c *websocket.Conn, typ websocket.MessageType, data []byte) {
	e := c.Session().(*end)
	other := e.pair.ends[1-e.side].Load()
	if other == nil {
		r.count.received.Add(1)
		r.count.dropped.Add(1)
		return
	}
	r.count.sent(other.WriteMessage(typ, data))
}

// closed ends the whole pair: later connections of the path form a new pair.
func (r *relay) closed(session any) {
	e := session.(*end)
	r.mu.Lock()
	if r.pairs[e.pair.key] == e.pair {
		delete(r.pairs, e.pair.key)
	}
	r.mu.Unlock()
	e.pair.ends[e.side].Store(nil)
	if other := e.pair.ends[1-e.side].Load(); other != nil {
		_ = other.Close()
	}
}

// echo sends each message back.
type echo struct{ count *counters }

func (*echo) admit(string) (any, error)   { return nil, nil }
func (*echo) opened(any, *websocket.Conn) {}
func (*echo) closed(any)                  {}

func (e *echo) message(c *websocket.Conn, typ websocket.MessageType, data []byte) {
	e.count.sent(c.WriteMessage(typ, data))
}

// idle keeps connections open and counts their messages.
type idle struct{ count *counters }

func (*idle) admit(string) (any, error)   { return nil, nil }
func (*idle) opened(any, *websocket.Conn) {}
func (*idle) closed(any)                  {}

func (i *idle) message(*websocket.Conn, websocket.MessageType, []byte) {
	i.count.received.Add(1)
	i.count.dropped.Add(1)
}
