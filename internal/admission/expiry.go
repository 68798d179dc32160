package admission

import (
	"time"

	"github.com/labgate/labgate/protocol"
)

// maxExpiryWait is the longest time between two looks at an expiry, which is a
// time of day: the clock may be set meanwhile.
const maxExpiryWait = time.Minute

// plan sets the time of the warning and arms the timer. The caller holds mu.
func (c *credential) plan(now time.Time) {
	if c.expires.IsZero() {
		c.warnAt = time.Time{}
		return
	}
	left := c.expires.Sub(now)
	c.warnAt = c.expires.Add(-min(c.admission.opts.TokenWarning, left/2))
	c.arm(now)
}

// arm sets the timer for the warning or the expiry, whichever is next. The
// caller holds mu.
func (c *credential) arm(now time.Time) {
	next := c.expires
	if !c.warnAt.IsZero() {
		next = c.warnAt
	}
	wheel := c.admission.sessions.Wheel()
	wheel.Schedule(&c.timer, now.Add(min(next.Sub(now), maxExpiryWait)))
	// The session's end may have stopped the timer just before.
	if !c.sess.Open() {
		wheel.Cancel(&c.timer)
	}
}

// Expire warns the session or ends it, on the wheel's goroutine.
func (c *credential) Expire(time.Time) {
	// Not the wheel's time, which stands still while the machine sleeps.
	now := time.Now()
	c.mu.Lock()
	left := c.expires.Sub(now)
	switch {
	case c.expires.IsZero() || c.ended:
		c.mu.Unlock()
	case left <= 0:
		c.ended = true
		c.mu.Unlock()
		c.sess.Close(protocol.CloseUnauthorized, "its credential has expired")
	case !c.warnAt.IsZero() && !now.Before(c.warnAt):
		c.warnAt = time.Time{}
		c.arm(now)
		c.mu.Unlock()
		c.warn(left)
	default:
		c.arm(now)
		c.mu.Unlock()
	}
}

func (c *credential) warn(left time.Duration) {
	msg, err := protocol.NewMessage(protocol.TypeTokenExpiring, expiryIn(left))
	if err == nil && c.sess.SendMessage(&msg, false) == nil {
		c.sess.Schedule()
	}
}

func expiryIn(left time.Duration) protocol.Expiry {
	ms := max(left.Milliseconds(), 0)
	return protocol.Expiry{ExpiresInMS: &ms}
}
