package session

import "time"

// bucket is a token bucket over one session's text messages. It belongs to the
// reading goroutine.
type bucket struct {
	tokens       float64
	last         int64
	refusal      int64 // when the peer was last told
	excess       int32 // refused since the bucket was last full
	primed, told bool
}

// take uses one token. With no rate set it always succeeds.
func (b *bucket) take(now int64, opts *Options) bool {
	if opts.MessagesPerSecond <= 0 {
		return true
	}
	if !b.primed {
		b.primed, b.tokens, b.last = true, float64(opts.MessageBurst), now
	}
	b.tokens += float64(now-b.last) * opts.MessagesPerSecond / float64(time.Second)
	b.last = now
	if full := float64(opts.MessageBurst); b.tokens >= full {
		b.tokens, b.excess = full, 0
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// refused books a refusal. tell is true when the peer should be told, at most
// once a second, so that the refusals do not themselves become a flood; shut
// when it has ignored more refusals than twice its burst since it last kept to
// the limit.
func (b *bucket) refused(now int64, opts *Options) (tell, shut bool) {
	b.excess++
	if int(b.excess) > 2*opts.MessageBurst {
		return false, true
	}
	if !b.told || now-b.refusal >= int64(time.Second) {
		b.told, b.refusal = true, now
		return true, false
	}
	return false, false
}
