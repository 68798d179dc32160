// Package router decides who gets what: unicast to a device, a user or a
// session, broadcast, telemetry by subscription, and the answers to commands.
// It knows sessions, not sockets, and is the Callbacks of a session.Manager.
package router

import (
	"errors"
	"github.com/labgate/labgate/router/federation"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Options configures a Router. A zero field takes the default named with it.
type Options struct {
	// Node is this gateway's name in notices and the welcome; "local".
	Node string
	// MaxMessage is the largest message accepted, in bytes, as the welcome
	// tells it; 1 MiB. The server enforces it.
	MaxMessage int
	// MaxPending bounds the commands that one front end may have waiting for
	// an answer; 256. One more is refused with overloaded.
	MaxPending int
	// MaxBadMessages closes a session with 4005 when it has sent more than
	// that many unacceptable messages within a heartbeat interval; 100.
	MaxBadMessages int
	// Renew changes the credential that a session is there with, and says how
	// long the new one is good for. The error does not repeat the token. It is
	// called on the session's reading goroutine with no lock of the router's
	// held. Nil: every renewal is refused.
	Renew func(s *session.Session, token string) (protocol.Expiry, *protocol.Error)
	// Bus joins this router with those of other nodes; nil: there are none.
	Bus federation.Bus
	// Answer answers what other nodes ask with Ask and AskAll of this node's
	// server: what, and of what. False: it does not know. It may be called on
	// any goroutine. Nil: it knows nothing.
	Answer func(what, arg string) ([]byte, bool)
}

// Router routes for one node.
//
// It has no goroutine of its own, but one for each question of another node
// that is being answered; they end with Leave. Lock order: mu, then a device
// link's mu or that of the errands; both may be held while queueing to an
// outbox or the bus, never while a session is flushed or closed. The locks of
// others and gathers are leaves.
type Router struct {
	// Static after Bind.
	opts    Options
	manager *session.Manager
	stats   Stats
	bus     federation.Bus
	// born is when the router was made, in microseconds since 1970: the epochs
	// of devices that came since are greater.
	born uint64

	// What is known of the other nodes and waits for them; locks of their own.
	others  others
	errands errands
	gathers gathers
	// answering waits for the answers to other nodes, answeringNow counts them.
	answering    sync.WaitGroup
	answeringNow atomic.Int32

	// everyone holds all front ends, telemetryAll those that want every
	// device's telemetry and may have it, telemetrySome those that want every
	// device's and may have some. The lists are replaced under mu, read without
	// it.
	everyone      atomic.Pointer[[]*session.Session]
	telemetryAll  atomic.Pointer[[]*session.Session]
	telemetrySome atomic.Pointer[[]*session.Session]
	// moves is odd while front ends move between these two and the devices'
	// lists of subscribers.
	moves     atomic.Uint64
	commandID atomic.Uint64

	// mu guards the rest: who is there and who wants what.
	mu         sync.Mutex
	devices    map[string]*device
	users      map[string][]*session.Session
	lastStream uint32
	// listing is the encoded device list of the welcome; nil when it must be
	// made anew.
	listing []byte
	// wantedElsewhere are the devices whose telemetry other nodes want.
	wantedElsewhere map[*device]struct{}
	// sawAll and sawSome are what subscribersChanged saw last.
	sawAll  bool
	sawSome *[]*session.Session
	// teller is armed from Join to Leave; left is set by the latter.
	teller teller
	left   bool
}

// New returns a Router; Bind it before use.
func New(opts Options) *Router {
	if opts.Node == "" {
		opts.Node = "local"
	}
	if opts.MaxMessage == 0 {
		opts.MaxMessage = 1 << 20
	}
	if opts.MaxPending == 0 {
		opts.MaxPending = 256
	}
	if opts.MaxBadMessages == 0 {
		opts.MaxBadMessages = 100
	}
	r := &Router{
		opts: opts, bus: opts.Bus, born: uint64(time.Now().UnixMicro()), others: newOthers(),
		devices: make(map[string]*device), users: make(map[string][]*session.Session), wantedElsewhere: make(map[*device]struct{}),
	}
	r.everyone.Store(new([]*session.Session))
	r.telemetryAll.Store(new([]*session.Session))
	r.telemetrySome.Store(new([]*session.Session))
	return r
}

// Bind ties the router to the Manager that was made with it as Callbacks.
func (r *Router) Bind(m *session.Manager) { r.manager = m }

// Node returns this gateway's name.
func (r *Router) Node() string { return r.opts.Node }

// Stats returns the router's counters.
func (r *Router) Stats() *Stats { return &r.stats }

var _ session.Callbacks = (*Router)(nil)

// Prepare implements session.Callbacks: it makes the router's state of a session
// that no other goroutine can find yet. The welcome is queued here: a command
// may come for a device as soon as other goroutines find the session, and the
// welcome is the first message on every connection.
func (r *Router) Prepare(s *session.Session) any {
	if s.Role() == session.RoleDevice {
		d := r.deviceFor(s.Name())
		r.welcomeDevice(s, d)
		return newLink(s, d)
	}
	return newFrontend(s.Info().Rights)
}

// OnConnect implements session.Callbacks.
func (r *Router) OnConnect(s *session.Session) {
	if s.Role() == session.RoleDevice {
		r.deviceConnected(s)
	} else {
		r.frontendConnected(s)
	}
	s.Flush()
}

// OnDisconnect implements session.Callbacks.
func (r *Router) OnDisconnect(s *session.Session, cause session.Cause) {
	if s.Role() == session.RoleDevice {
		r.deviceDisconnected(s, cause)
	} else {
		r.frontendDisconnected(s)
	}
}

// OnMessage implements session.Callbacks.
func (r *Router) OnMessage(s *session.Session, op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		r.routeTelemetry(s, payload)
	} else {
		r.routeText(s, payload)
	}
	return nil
}

// OnEndRead implements session.Callbacks.
func (r *Router) OnEndRead(s *session.Session) {
	if l, ok := s.Attachment().(*link); ok {
		r.sendBatch(l)
	}
}

// refuse answers a message that cannot be accepted, and gives up on a peer
// that sends too many of them. It runs on the session's reading goroutine.
func (r *Router) refuse(s *session.Session, code protocol.ErrorCode, message string, id []byte) {
	r.stats.countError(code)
	if code == protocol.ErrBadMessage || code == protocol.ErrNotAllowed {
		if s.NoteBadMessage() > r.opts.MaxBadMessages {
			s.Fail(protocol.CloseBadMessage, message)
			return
		}
	}
	if s.SendError(code, message, string(id)) == nil {
		s.Touch(s)
	}
}

// sendFailure names the reason why a message could not be queued for its
// receiver.
func sendFailure(err error, offline protocol.ErrorCode) (protocol.ErrorCode, string) {
	if errors.Is(err, session.ErrSlowConsumer) {
		return protocol.ErrOverloaded, "the receiver's queue is full; it is being disconnected and was not given this message"
	}
	return offline, "the receiver is not connected; it was not given this message"
}
