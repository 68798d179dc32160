package bench

// maxBatch bounds the messages that a sender joins into one write, in bytes.
const maxBatch = 64 << 10

// generator distributes the messages of one schedule over its senders in turn:
// message g belongs to sender g mod n, so that the senders are spread evenly in
// time. While the gateway does not read, due messages are only counted; they
// keep the time at which they were due.
type generator struct {
	// Static after creation.
	sched   schedule
	until   int64 // no message is due from this time on
	senders []*sender
	build   func(dst []byte, s *sender, g uint64, due int64) []byte // one wire frame

	next  uint64 // first message not given to its sender
	ready []*sender
	lag   recorder // from due to written; includes late
	late  recorder // from due to the tick that gave the message to its sender: the load generator's own delay
}

// sender is the sending side of one connection.
type sender struct {
	gen     *generator
	c       *conn
	index   int
	wire    []byte // prepared frame, patched in place
	patch   int    // where, in wire
	sent    uint64 // messages written
	owed    uint64 // messages due and not written
	units   uint64 // samples (telemetry) or messages (text) written
	queued  bool   // in gen.ready
	blocked bool   // in c.blocked
}

func (g *generator) add(c *conn, wire []byte, patch int) {
	g.senders = append(g.senders, &sender{gen: g, c: c, index: len(g.senders), wire: wire, patch: patch})
}

func (g *generator) tick(now int64) {
	n := uint64(len(g.senders))
	for {
		due := g.sched.due(g.next)
		if due > now || due >= g.until {
			break
		}
		s := g.senders[g.next%n]
		g.next++
		g.late.record(due, now)
		s.owed++
		if !s.queued && !s.blocked {
			s.queued = true
			g.ready = append(g.ready, s)
		}
	}
	for _, s := range g.ready {
		s.queued = false
		s.flush(now)
	}
	g.ready = g.ready[:0]
}

func (g *generator) nextDue() int64 {
	if due := g.sched.due(g.next); due < g.until {
		return due
	}
	return never
}

// flush writes the messages that are owed, up to maxBatch bytes in a write.
func (s *sender) flush(now int64) {
	g, w, n := s.gen, s.c.w, uint64(len(s.gen.senders))
	for s.owed > 0 && s.c.state == stateOpen {
		if s.c.sock.Full() {
			if !s.blocked {
				s.blocked = true
				s.c.blocked = append(s.c.blocked, s)
			}
			return
		}
		buf := w.scratch[:0]
		for s.owed > 0 && len(buf) < maxBatch {
			id := s.sent*n + uint64(s.index)
			due := g.sched.due(id)
			buf = g.build(buf, s, id, due)
			g.lag.record(due, now)
			s.sent++
			s.owed--
		}
		s.c.write(buf)
	}
}

// pending reports whether messages are left to write, scheduled or owed.
func (g *generator) pending() bool { return g.nextDue() != never || g.owed() > 0 }

// owed is how many messages open connections have not written yet.
func (g *generator) owed() (n uint64) {
	for _, s := range g.senders {
		if s.c.state == stateOpen {
			n += s.owed
		}
	}
	return n
}

// sent is how many messages were written.
func (g *generator) sent() (n uint64) {
	for _, s := range g.senders {
		n += s.sent
	}
	return n
}
