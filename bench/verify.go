package bench

// maxOpenSpans bounds the open ranges of one stream at one receiver: gaps
// without a report, and reports without a gap.
const maxOpenSpans = 1 << 16

// tally counts samples (telemetry) or messages (text) at one receiver. In a run
// without faults, received + lost is the number sent, and the rest is zero.
type tally struct {
	received   uint64 // each counted once
	lost       uint64 // reported by gateway.lost and indeed not received
	missing    uint64 // neither received nor reported; known after finish
	duplicates uint64 // received again
	disorder   uint64 // received after later ones
	falseLost  uint64 // reported lost though received, or reported twice, or never sent
	badReports uint64 // gateway.lost with an empty range or of an unknown stream
	overflow   uint64 // too many open ranges to verify
}

func (t *tally) add(o *tally) {
	t.received += o.received
	t.lost += o.lost
	t.missing += o.missing
	t.duplicates += o.duplicates
	t.disorder += o.disorder
	t.falseLost += o.falseLost
	t.badReports += o.badReports
	t.overflow += o.overflow
}

// accounted is the number of units that were received or reported as lost.
func (t *tally) accounted() uint64 { return t.received + t.lost }

// streamState follows one stream at one receiver.
type streamState struct {
	next uint64 // index expected next
	open *openSpans
}

type openSpans struct {
	missing  spans // below next: skipped, not reported
	reported spans // from next on: reported, not skipped yet
}

// observe counts the received samples [seq, seq+count).
func (s *streamState) observe(t *tally, seq, count uint64) {
	if seq == s.next && s.open == nil {
		s.next += count
		t.received += count
		return
	}
	s.observeSlow(t, seq, count)
}

func (s *streamState) observeSlow(t *tally, seq, count uint64) {
	end := seq + count
	if end < seq {
		t.duplicates += count // no such index
		return
	}
	if s.open == nil {
		s.open = &openSpans{}
	}
	if seq < s.next {
		late := span{seq, min(end, s.next)}
		filled := s.open.missing.remove(late)
		t.received += filled
		t.disorder += filled
		t.duplicates += late.size() - filled
		seq = late.to
	}
	if seq < end {
		s.skipTo(seq)
		wrong := s.open.reported.remove(span{seq, end})
		t.lost -= wrong
		t.falseLost += wrong
		t.received += end - seq
		s.next = end
	}
	s.settle(t)
}

// skipTo moves next up to seq: samples in between are missing unless reported.
func (s *streamState) skipTo(seq uint64) {
	gap := span{s.next, seq}
	if gap.from >= gap.to {
		return
	}
	s.open.missing.add(gap)
	for len(s.open.reported) > 0 && s.open.reported[0].from < seq {
		known := span{s.open.reported[0].from, min(s.open.reported[0].to, seq)}
		s.open.missing.remove(known)
		s.open.reported.remove(known)
	}
	s.next = seq
}

// report counts gateway.lost: the samples [from, to).
func (s *streamState) report(t *tally, from, to uint64) {
	if from >= to {
		t.badReports++
		return
	}
	if s.open == nil {
		s.open = &openSpans{}
	}
	if from < s.next {
		past := span{from, min(to, s.next)}
		known := s.open.missing.remove(past)
		t.lost += known
		t.falseLost += past.size() - known
		from = past.to
	}
	if from < to {
		ahead := span{from, to}
		added := s.open.reported.add(ahead)
		t.lost += added
		t.falseLost += ahead.size() - added
	}
	s.settle(t)
}

// settle frees empty sets, so that observe uses its fast path again.
func (s *streamState) settle(t *tally) {
	if len(s.open.missing)+len(s.open.reported) > maxOpenSpans {
		t.overflow++
		s.open.missing, s.open.reported = nil, nil
	}
	if len(s.open.missing) == 0 && len(s.open.reported) == 0 {
		s.open = nil
	}
}

// finish completes the counts: sent is the number of samples of the stream.
func (s *streamState) finish(t *tally, sent uint64) {
	if s.open == nil && s.next == sent {
		return
	}
	if s.open == nil {
		s.open = &openSpans{}
	}
	s.skipTo(sent)
	wrong := s.open.reported.size() // beyond the last sample sent
	t.lost -= wrong
	t.falseLost += wrong
	t.missing += s.open.missing.size()
	s.open = nil
}
