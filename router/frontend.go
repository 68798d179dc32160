package router

import (
	"cmp"
	"sync/atomic"

	"github.com/labgate/labgate/session"
)

// frontend is the router's state of one front end's session. It is the sender
// of the front end's messages (sender.go) and asks its commands (command.go).
type frontend struct {
	sessionSender
	// last is the device that a message was for, for the next one: owned by the
	// reading goroutine.
	last *session.Session
	// commands are those that wait for an answer; a lock of their own.
	commands commandList
	// owner counts the commands of all sessions with the same credential; nil for
	// a session without one. Static.
	owner *owner
	// rights are what it may do, nil for everything; replaced under registry.mu,
	// read without it.
	rights atomic.Pointer[session.Rights]
	// acct is charged for what waits of its messages. Static.
	acct session.Account
	// all and listed are its subscription; guarded by registry.mu. With all set
	// the list is empty.
	all    bool
	listed map[string]*device
}

func newFrontend(r *Router, s *session.Session) *frontend {
	fe := &frontend{sessionSender: sessionSender{r, s}}
	fe.acct = accountOf(cmp.Or(s.Info().Credential, s.Source()))
	if rights := s.Info().Rights; rights != nil {
		fe.rights.Store(&rights)
	}
	return fe
}

// receiver returns the front end as a receiver of every device's telemetry.
// The caller holds registry.mu.
func (fe *frontend) receiver() Receiver {
	if fe.rights.Load() == nil {
		return liveReceiver{fe.s}
	}
	return limitedReceiver{fe}
}

func (fe *frontend) mayObserve(device string) bool {
	rights := fe.rights.Load()
	return rights == nil || (*rights).MayObserve(device)
}

// mayObserve reports whether a front end's session may observe a device.
func mayObserve(s *session.Session, device string) bool {
	return s.Attachment().(*frontend).mayObserve(device)
}
