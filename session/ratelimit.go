package session

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Rate limits the messages that one session may send. A zero rate means no limit.
type Rate struct {
	// Messages is the number of text messages and pings per second. Burst is the
	// number that may arrive at once; 0 means 2*Messages + 1.
	Messages float64
	Burst    int
	// Bytes is the number of payload bytes per second, in text and binary messages.
	// Twice as many bytes may arrive at once. When any bytes are left of that, a
	// larger message is accepted too, and the excess is subtracted from the bytes
	// that later messages may have.
	Bytes float64
}

const (
	// maxRate bounds Rate.Messages, per second.
	maxRate = 1_000_000
	// maxByteRate bounds Rate.Bytes, per second.
	maxByteRate = 1 << 40
)

// withDefaults fills in the burst and checks the other fields.
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

// The errors of a limiter.
var (
	errMessageRate = errors.New("message rate kept above the limit")
	errByteRate    = errors.New("byte rate kept above the limit")
)

// describe returns the text of the rate_limited error for the peer.
func (r *Rate) describe(err error) string {
	if errors.Is(err, errByteRate) {
		return fmt.Sprintf("more than %.0f bytes per second, burst %.0f; slow down, or the session is closed with 4006", r.Bytes, 2*r.Bytes)
	}
	return fmt.Sprintf("more than %.0f messages per second, burst %d; slow down, or the session is closed with 4006", r.Messages, r.Burst)
}

// limiter enforces the rate of one session. It belongs to the session's reading
// goroutine.
type limiter struct {
	messages, bytes bucket
	notified        int64 // time of the last error to the peer; Manager time, ns
	everNotified    bool
}

// take charges a message of size bytes to the rate. The error says which limit the
// message exceeds. counted is false for messages that only the byte rate limits.
func (l *limiter) take(now int64, counted bool, size int, r *Rate) error {
	counted = counted && r.Messages > 0
	if counted && !l.messages.has(now, 1, r.Messages, float64(r.Burst)) {
		return errMessageRate
	}
	if r.Bytes > 0 && size > 0 {
		// Any remainder is enough. Otherwise a message larger than the burst would
		// always be refused.
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

// Charge charges additional messages to the session's rate, for a message that
// costs the gateway far more than others. Only the session's reading goroutine may
// call Charge.
func (s *Session) Charge(messages int) {
	if s.rate.Messages == 0 || messages <= 0 {
		return
	}
	if s.limiter == nil {
		s.limiter = new(limiter)
	}
	l := &s.limiter.messages
	l.has(s.lastHeard.Load(), 0, s.rate.Messages, float64(s.rate.Burst))
	l.tokens -= float64(messages)
}

// countRefusal counts a refused message. notify is true when the peer should get
// an error, which happens once a second at most, so that the errors are no flood.
// disconnect is true when the session must be closed: more than twice its burst
// was refused since the bucket was last full.
func (l *limiter) countRefusal(now int64, err error, size int, r *Rate) (notify, disconnect bool) {
	if errors.Is(err, errByteRate) {
		l.bytes.excess += int64(size)
		disconnect = float64(l.bytes.excess) > 4*r.Bytes
	} else {
		l.messages.excess++
		disconnect = l.messages.excess > 2*int64(r.Burst)
	}
	if disconnect {
		return false, true
	}
	if !l.everNotified || now-l.notified >= int64(time.Second) {
		l.everNotified, l.notified = true, now
		return true, false
	}
	return false, false
}

// bucket is a token bucket.
type bucket struct {
	tokens  float64
	last    int64 // time of the last call of has; Manager time, ns
	excess  int64 // tokens of refused messages since the bucket was last full
	started bool
}

// has adds the tokens for the time since the last call, and reports whether the
// bucket has at least need tokens.
func (b *bucket) has(now int64, need, rate, burst float64) bool {
	if !b.started {
		b.started, b.tokens, b.last = true, burst, now
	}
	b.tokens += float64(now-b.last) * rate / float64(time.Second)
	b.last = now
	if b.tokens >= burst {
		b.tokens, b.excess = burst, 0
	}
	return b.tokens >= need
}
