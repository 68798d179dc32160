//go:build linux

package load

import "github.com/labgate/labgate/bench/internal/stats"

// maxBatch bounds the messages that a sender joins into one write, in bytes.
const maxBatch = 64 << 10

// schedule defines when messages are due, independent of the server.
type schedule struct {
	start    int64   // ns; message 0 is due here
	until    int64   // no message is due from this time on
	interval float64 // ns between two messages
}

func (s *schedule) due(g uint64) int64 { return s.start + int64(float64(g)*s.interval) }

// generator distributes the messages of a schedule over the senders in turn, so
// that the senders are spread evenly in time. While the server does not read,
// due messages are only counted; they keep the time at which they were due.
type generator struct {
	sched   schedule
	senders []*sender
	next    uint64 // first message not given to its sender
	ready   []*sender
	late    stats.Histogram // from due to the tick that gave the message to its sender: the load program's own delay
}

// sender is the sending side of one connection.
type sender struct {
	gen     *generator
	c       *conn
	index   uint64
	frame   []byte // prepared, its payload is filled in in place
	at      int    // of the payload
	seq     uint64 // next number; goes on from one step to the next
	sent    uint64 // in this step
	owed    uint64 // due and not written
	queued  bool   // in gen.ready
	blocked bool   // waits for the socket
}

// begin starts a new schedule.
func (g *generator) begin(s schedule) {
	g.sched, g.next = s, 0
	g.late.Reset()
	for _, s := range g.senders {
		s.sent, s.owed = 0, 0
	}
}

// tick writes the messages that are due and returns when the next one is due.
func (g *generator) tick(now int64) (next int64) {
	n := uint64(len(g.senders))
	due := g.sched.due(g.next)
	for due <= now && due < g.sched.until {
		s := g.senders[g.next%n]
		s.owed++
		if !s.queued && !s.blocked {
			s.queued = true
			g.ready = append(g.ready, s)
		}
		g.late.Record(now - due)
		g.next++
		due = g.sched.due(g.next)
	}
	for _, s := range g.ready {
		s.queued = false
		s.flush()
	}
	g.ready = g.ready[:0]
	if due >= g.sched.until {
		return never
	}
	return due
}

// flush writes the messages that are owed, up to maxBatch bytes in a write.
func (s *sender) flush() {
	p, n := s.c.p, uint64(len(s.gen.senders))
	for s.owed > 0 && s.c.state == stateOpen {
		if s.c.sock.Full() {
			s.blocked = true
			return
		}
		buf := p.scratch[:0]
		for s.owed > 0 && len(buf) < maxBatch {
			due := s.gen.sched.due(s.sent*n + s.index)
			p.payload.put(s.frame[s.at:], s.seq, due, s.c.spec.Index)
			buf = append(buf, s.frame...)
			s.seq++
			s.sent++
			s.owed--
		}
		s.c.write(buf)
	}
}

// owed is how many messages are due and not written.
func (g *generator) owed() (n uint64) {
	for _, s := range g.senders {
		n += s.owed
	}
	return n
}

// numbered is how many messages have been written since the beginning.
func (g *generator) numbered() (n uint64) {
	for _, s := range g.senders {
		n += s.seq
	}
	return n
}
