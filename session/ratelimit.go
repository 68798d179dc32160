package session

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Rate limits what one session may send. A zero field means no limit.
type Rate struct {
	// Messages is how many text messages and pings a second, Burst how many at
	// once; twice the rate and one if 0.
	Messages float64
	Burst    int
	// Bytes is how many bytes of payload a second, in messages of both kinds;
	// twice as many may come at once. A message that is larger than what is
	// left passes when anything is left: what follows it waits for longer.
	Bytes float64
}

const (
	// maxRate bounds Rate.Messages; more is as good as no limit.
	maxRate = 1_000_000
	// maxByteRate bounds Rate.Bytes.
	maxByteRate = 1 << 40
)

// withDefaults fills in the burst and checks the others.
func (r Rate) withDefaults() (Rate, error) {
	if !(r.Messages >= 0 && r.Messages <= maxRate) || r.Burst < 0 || r.Burst > 2*maxRate {
		return r, fmt.Errorf("message rate %v with burst %d: give 0 to %d per second, and a burst of at most twice that", r.Messages, r.Burst, int(maxRate))
	}
	if !(r.Bytes >= 0 && r.Bytes <= maxByteRate) {
		return r, fmt.Errorf("byte rate %v: give 0 to %d per second", r.Bytes, int64(maxByteRate))
	}
	if r.Burst == 0 {
		r.Burst = int(2*r.Messages) + 1
	}
	return r, nil
}

// The refusals of a limiter.
var (
	errMessageRate = errors.New("message rate kept above the limit")
	errByteRate    = errors.New("byte rate kept above the limit")
)

// tell says to the peer what it exceeded.
func (r *Rate) tell(err error) string {
	if errors.Is(err, errByteRate) {
		return fmt.Sprintf("more than %.0f bytes per second, burst %.0f; slow down, or the session is closed with 4006", r.Bytes, 2*r.Bytes)
	}
	return fmt.Sprintf("more than %.0f messages per second, burst %d; slow down, or the session is closed with 4006", r.Messages, r.Burst)
}

// limiter holds one session to its role's rate. It belongs to the reading
// goroutine.
type limiter struct {
	messages, bytes bucket
	refusal         int64 // when the peer was last told
	told            bool
}

// take books a message of size bytes, counted among the messages or not, or
// says which limit it exceeds.
func (l *limiter) take(now int64, counted bool, size int, r *Rate) error {
	counted = counted && r.Messages > 0
	if counted && !l.messages.has(now, 1, r.Messages, float64(r.Burst)) {
		return errMessageRate
	}
	if r.Bytes > 0 && size > 0 {
		// Any part of a byte: a message larger than the burst could never pass.
		if !l.bytes.has(now, math.SmallestNonzeroFloat64, r.Bytes, 2*r.Bytes) {
			return errByteRate
		}
		l.bytes.tokens -= float64(size)
	}
	if counted {
		l.messages.tokens--
	}
	return nil
}

// refused books a refusal. tell is true when the peer should be told, at most
// once a second, so that the refusals do not themselves become a flood; shut
// when it has ignored more refusals than twice its burst since it last kept to
// the limit.
func (l *limiter) refused(now int64, err error, size int, r *Rate) (tell, shut bool) {
	if errors.Is(err, errByteRate) {
		l.bytes.excess += int64(size)
		shut = float64(l.bytes.excess) > 4*r.Bytes
	} else {
		l.messages.excess++
		shut = l.messages.excess > 2*int64(r.Burst)
	}
	if shut {
		return false, true
	}
	if !l.told || now-l.refusal >= int64(time.Second) {
		l.told, l.refusal = true, now
		return true, false
	}
	return false, false
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	last   int64
	excess int64 // refused since the bucket was last full
	primed bool
}

// has adds the tokens that have grown since the last call and reports whether
// there are as many as need.
func (b *bucket) has(now int64, need, rate, burst float64) bool {
	if !b.primed {
		b.primed, b.tokens, b.last = true, burst, now
	}
	b.tokens += float64(now-b.last) * rate / float64(time.Second)
	b.last = now
	if b.tokens >= burst {
		b.tokens, b.excess = burst, 0
	}
	return b.tokens >= need
}
