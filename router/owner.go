package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	// ownerDevices is how many devices per second the sessions of one credential
	// may list, together; ownerBurst how many at once, as after a restart of the
	// gateway, when 100 front ends list 1,024 devices each.
	ownerDevices = 20_000
	ownerBurst   = 100 * maxSubscriptions
	// renewalCost is the cost of a renewal, in devices: checking a signature
	// takes about as long as listing so many.
	renewalCost = 32
)

// owner is what the router counts for all sessions with one credential together.
type owner struct {
	// waiting counts their commands that wait for an answer.
	waiting atomic.Int32
	// sessions counts the credential's sessions from Prepare to OnDisconnect;
	// guarded by registry.mu.
	sessions int

	// mu guards the rest; a leaf.
	mu sync.Mutex
	// spent is the cost of their requests that ownerDevices has not yet paid
	// back, in devices; at is when spent was last brought up to date, in the
	// Manager's time.
	spent float64
	at    time.Duration
}

// overspent reports whether the requests of the credential's sessions have cost
// too much lately. A nil owner never has.
func (o *owner) overspent(now time.Duration) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.payBack(now)
	return o.spent >= ownerBurst
}

// spend adds the cost of a request, in devices.
func (o *owner) spend(now time.Duration, devices int) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.payBack(now)
	o.spent += float64(devices)
}

// payBack reduces spent by what ownerDevices allows since at. The caller holds
// mu.
func (o *owner) payBack(now time.Duration) {
	if now > o.at {
		o.spent = max(0, o.spent-(now-o.at).Seconds()*ownerDevices)
		o.at = now
	}
}

// charge charges a request to the session's rate and to its credential, before
// the request is carried out. It refuses the request, and reports false, when the
// credential has spent too much. Only the session's reading goroutine may call
// it.
func (r *Router) charge(s *session.Session, e *protocol.Envelope, devices int) bool {
	s.Charge(devices / devicesPerMessage)
	fe, ok := s.Attachment().(*frontend)
	if !ok {
		return true
	}
	now := r.manager.Now()
	if fe.owner.overspent(now) {
		r.refuse(s, protocol.ErrRateLimited, "the sessions of this credential together list devices or renew credentials too often; wait a second and send the request again", e.ID)
		return false
	}
	fe.owner.spend(now, devices)
	return true
}
