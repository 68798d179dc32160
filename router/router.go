// Package router decides who gets what: unicast to a device, a user or a
// session, broadcast, telemetry by subscription, and the answers to commands.
// It knows sessions, not sockets, and is the Callbacks of a session.Manager.
//
// A text message is read in OnMessage, and goes through deliver.go to its
// destination; a command waits for its answer in command.go. Telemetry goes
// through telemetry.go to the Receivers of receiver.go. What other nodes say
// comes in through member.go.
package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
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
	// DeviceMetrics bounds the devices of which DeviceMetrics tells; none.
	DeviceMetrics int
	// MaxBadMessages closes a session with 4005 when it has sent more than
	// that many unacceptable messages within a heartbeat interval; 100.
	MaxBadMessages int
	// Renew changes the credential of a session, and says how long the new one
	// is good for. The error does not repeat the token. Renew is called on the
	// session's reading goroutine, with no lock of the router's held. Nil: every
	// renewal is refused.
	Renew func(s *session.Session, token string) (protocol.Expiry, *protocol.Error)
	// Events is told of commands; nil for nobody.
	Events events.Listener
	// Receivers get the telemetry of every device from the start, in this order
	// and ahead of front ends.
	Receivers []Receiver
	// Bus joins this router with those of other nodes; federation.Alone.
	Bus federation.Bus
	// Answer answers a question of another node's Ask or AskAll that is for this
	// node's server: what, and of what. False: the question is unknown. Answer
	// may be called on any goroutine. Nil: every question is unknown.
	Answer func(what, arg string) ([]byte, bool)
}

// Router routes for one node.
//
// Goroutines: one for each question of another node that is being answered;
// Leave waits for them. Lock order: registry.mu, then a pendingTable's; both may
// be held while queueing to an outbox or the bus, never while a session is
// flushed or closed. The locks of peerDirectory, queries and the positions of
// package federation are leaves.
type Router struct {
	// Static after Bind.
	opts    Options
	manager *session.Manager
	// managerStart is when the Manager's clock began.
	managerStart time.Time
	bus          federation.Bus
	controls     map[string]control

	stats    Stats
	registry registry

	// remotePending holds the commands of this node that wait for devices on
	// other nodes; those for devices here wait at the deviceConn.
	remotePending pendingTable
	// lastCommand numbers commands whose device knows them by another id.
	lastCommand atomic.Uint64
	// lastOrdinal numbers the commands in events.
	lastOrdinal atomic.Uint64

	peers   peerDirectory
	queries queries
	// answering waits for the answers to other nodes, answeringNow counts them.
	answering    sync.WaitGroup
	answeringNow atomic.Int32
	// positions is armed from Join to Leave.
	positions positionTeller
}

var _ session.Callbacks = (*Router)(nil)

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
	if opts.Bus == nil {
		opts.Bus = federation.Alone{}
	}
	r := &Router{opts: opts, bus: opts.Bus, peers: newPeerDirectory()}
	r.controls = r.controlTable()
	r.remotePending.limit, r.remotePending.target = maxRemotePending, "devices on other nodes"
	r.registry.init(r)
	return r
}

// Bind ties the router to the Manager that was made with it as Callbacks.
func (r *Router) Bind(m *session.Manager) { r.manager, r.managerStart = m, time.Now().Add(-m.Now()) }

// Node returns this gateway's name.
func (r *Router) Node() string { return r.opts.Node }

// Stats returns the router's counters.
func (r *Router) Stats() *Stats { return &r.stats }

// Prepare implements session.Callbacks: it makes the router's state of a session
// that no other goroutine can find yet. A device's welcome is queued here: a
// command may come as soon as other goroutines find the session, and the welcome
// is the first message on every connection.
func (r *Router) Prepare(s *session.Session) any {
	if s.Role() == session.RoleDevice {
		d := r.registry.prepare(s.Name())
		r.welcomeDevice(s, d)
		return newDeviceConn(r, s, d)
	}
	fe := newFrontend(r, s)
	fe.owner = r.registry.prepareOwner(s.Info().Credential)
	return fe
}

// OnConnect implements session.Callbacks: it announces a device, or gives a
// front end its welcome and its first subscription.
func (r *Router) OnConnect(s *session.Session) {
	switch a := s.Attachment().(type) {
	case *deviceConn:
		r.registry.deviceConnected(a)
	case *frontend:
		r.registry.frontendConnected(a)
	}
	s.Flush()
}

// OnMessage implements session.Callbacks: text is routed by its envelope, binary
// is telemetry.
func (r *Router) OnMessage(s *session.Session, op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		r.routeTelemetry(s, payload)
	} else {
		r.routeText(s, payload)
	}
	return nil
}

// OnEndRead implements session.Callbacks: the telemetry of the read event leaves
// as one batch.
func (r *Router) OnEndRead(s *session.Session) {
	if c, ok := s.Attachment().(*deviceConn); ok {
		r.endBatch(c)
	}
}

// OnDisconnect implements session.Callbacks: commands that wait for a device are
// failed, and the session is taken out of every table.
func (r *Router) OnDisconnect(s *session.Session, cause session.Cause) {
	switch a := s.Attachment().(type) {
	case *deviceConn:
		r.failCommands(a.pending.close(), deviceGone)
		r.registry.deviceDisconnected(a, cause)
	case *frontend:
		a.leaveCommands()
		r.registry.frontendDisconnected(a)
	}
}

// AnnounceClosing tells every session that the gateway is about to close, and
// how long to wait before connecting again.
func (r *Router) AnnounceClosing(retryAfter time.Duration) {
	msg, err := protocol.NewMessage(protocol.TypeClosing, protocol.Closing{RetryAfterMS: retryAfter.Milliseconds()})
	if err != nil {
		return
	}
	text, err := msg.Append(nil)
	if err == nil {
		r.manager.Broadcast(text, nil)
	}
}

// refuse answers a message of a session that cannot be accepted, and closes a
// session that sends too many of them. It runs on the session's reading
// goroutine.
func (r *Router) refuse(s *session.Session, code protocol.ErrorCode, message string, id []byte) {
	r.stats.countError(code)
	if code == protocol.ErrBadMessage || code == protocol.ErrNotAllowed {
		if s.CountBadMessage() > r.opts.MaxBadMessages {
			s.Fail(protocol.CloseBadMessage, message)
			return
		}
	}
	if s.SendError(code, message, string(id)) == nil {
		s.FlushAfterRead(s)
	}
}
