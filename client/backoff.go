package client

import "time"

// Backoff is the pause before a reconnect: a random time between 0 and min(Max,
// Min * 2^n) after n failures in a row ("full jitter"), so that a thousand
// clients that lost the same gateway do not reconnect at the same instant. A
// pause that the gateway requested is added.
type Backoff struct {
	Min time.Duration // upper bound of the first pause; 0 means 500 ms
	Max time.Duration // upper bound of all pauses, and the time that a connection must last to count as a success; 0 means 20 s
}

// maxAsked is the longest pause that a gateway can request: a wrong number must
// not keep a machine disconnected for a day.
const maxAsked = 5 * time.Minute

func (b Backoff) withDefaults() Backoff {
	setDefault(&b.Min, 500*time.Millisecond)
	setDefault(&b.Max, 20*time.Second)
	b.Max = max(b.Min, b.Max)
	return b
}

// pause is the time to wait after n failures, for a random number in [0, 1).
func (b Backoff) pause(n int, random float64) time.Duration {
	ceiling := b.Max
	if n < 32 && b.Min<<n>>n == b.Min { // the shift loses nothing
		ceiling = min(b.Max, b.Min<<n)
	}
	return time.Duration(random * float64(ceiling))
}
