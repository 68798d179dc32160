package router

import (
	"cmp"
	"sync/atomic"

	"github.com/labgate/labgate/session"
)

// frontend is the router's state of one front end's session. It implements
// sender (sender.go) and asker (command.go).
type frontend struct {
	sessionSender
	// last is the device of the last message, because the next message is most
	// often for the same device. Owned by the reading goroutine.
	last *session.Session
	// commands are the front end's commands that wait for an answer. The list
	// has its own lock.
	commands commandList
	// owner counts the commands of all sessions with the same credential; nil for
	// a session without one. Static.
	owner *owner
	// rights are the front end's rights, nil for everything. Writers hold
	// registry.mu; readers need no lock.
	rights atomic.Pointer[session.Rights]
	// acct is charged for the front end's messages that wait in queues. Static.
	acct session.Account
	// all and listed are the subscription. all: the front end subscribes to all
	// devices, and listed is empty. listed has the devices that the front end
	// subscribes to by id. Guarded by registry.mu.
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
	return permitObserve(fe.rights.Load(), device)
}

// permitObserve reports whether rights permit to observe a device; nil permits
// everything.
func permitObserve(rights *session.Rights, device string) bool {
	return rights == nil || (*rights).MayObserve(device)
}

// mayObserve reports whether a front end's session may observe a device.
func mayObserve(s *session.Session, device string) bool {
	return s.Attachment().(*frontend).mayObserve(device)
}
