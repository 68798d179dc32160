package cluster

// Requests for a peer's state, and the replies. The Bus's calls is held in all of
// these functions.

// requestSync requests a peer's state and a measurement of its clock, at most once
// in half of the timeout.
func (b *Bus) requestSync(p *peer, at int64) {
	if at-p.lastRequest < b.options.Timeout.Microseconds()/2 {
		return
	}
	p.lastRequest = at
	b.enqueueControl(p, func(buf []byte) []byte {
		return appendNumbers(buf, recordSyncRequest, b.options.Name, uint64(at), p.seq)
	})
}

// enqueueControl adds a record about the nodes themselves to the packet that waits
// for a peer.
func (b *Bus) enqueueControl(p *peer, appendRecord func([]byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.up && p.to.waiting <= maxControl {
		b.enqueueRecord(&p.to, 0, appendRecord)
	}
}

// replySync replies to a peer that has this node's state up to change have. When
// that is not the latest change, a snapshot follows.
func (b *Bus) replySync(p *peer, at int64, requested, have uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || p.to.waiting > maxControl {
		return
	}
	b.enqueueRecord(&p.to, 0, func(buf []byte) []byte {
		return appendNumbers(buf, recordSyncReply, b.options.Name, requested, b.local.seq)
	})
	if have == b.local.seq || have == noSnapshot || at-p.lastSent < b.options.Timeout.Microseconds()/4 {
		return
	}
	p.lastSent = at
	rs := records(stringOf(b.local.encodedSnapshot()))
	for rs != "" {
		begin := rs
		n := 0
		for rs != "" && n < maxPacket/2 {
			_, _, _, _ = rs.next()
			n = len(begin) - len(rs)
		}
		b.enqueueRecord(&p.to, n, func(buf []byte) []byte { return append(buf, begin[:n]...) })
	}
}

// syncReplied takes the reply to a request that this node sent at the time
// requested: the peer's latest change is seq.
func (b *Bus) syncReplied(p *peer, sent, at, requested int64, seq uint64) {
	if requested <= at && at-requested <= b.options.Timeout.Microseconds() {
		p.clock.exchange(requested, sent, at)
	}
	switch {
	case !p.joined && p.clock.known && seq == p.seq:
		b.peerJoined(p)
		b.applyWaiting(p, at)
	case seq > p.seq:
		p.announced = max(p.announced, seq)
		b.requestSync(p, at)
	}
}
