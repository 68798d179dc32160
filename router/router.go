// Package router decides which sessions receive a message: unicast to a
// device, a user or a session, broadcast, telemetry by subscription, and the
// answers to commands. The package knows sessions, not sockets: a Router
// implements the Callbacks of a session.Manager.
//
// A text message enters at OnMessage, and goes through deliver.go to its
// destination; a command waits for its answer in command.go. Telemetry goes
// through telemetry.go to the Receivers of receiver.go. Messages of other
// nodes enter at member.go.
package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/describe"
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
	// MaxMessage is the largest message that the gateway accepts, in bytes; 1
	// MiB. The welcome announces it. The router enforces it for external
	// messages, the event loop for sessions.
	MaxMessage int
	// MaxPending bounds the commands of one front end that wait for an answer;
	// 256. Further commands are refused with overloaded.
	MaxPending int
	// DeviceMetrics bounds the devices that [Router.DeviceMetrics] returns; none.
	DeviceMetrics int
	// MaxBadMessages bounds the unacceptable messages of one session within a
	// heartbeat interval; 100. A session that sends more is closed with 4005.
	MaxBadMessages int
	// Renew replaces the credential of a session, and returns the expiry of
	// the new one. The error does not repeat the token. The session's reading
	// goroutine calls Renew, with no lock of the router held. Nil: every
	// renewal is refused.
	Renew func(s *session.Session, token string) (protocol.Expiry, *protocol.Error)
	// Events is the listener for the events of commands; nil for none.
	Events events.Listener
	// Receivers get the telemetry of every device, in this order and before
	// front ends.
	Receivers []Receiver
	// Described returns the description of a device from a file, nil for none.
	// typ is the type with which the device connected, "" for none. Called with
	// locks held. Nil: no file describes a device.
	Described func(device, typ string) *describe.Described
	// Bus connects this router to the routers of other nodes; federation.Alone.
	Bus federation.Bus
	// Answer answers the queries of other nodes (Ask, AskAll) that the router
	// does not know itself: what names the query, arg its subject. False: the
	// query is unknown. Any goroutine may call Answer. Nil: every such query
	// is unknown.
	Answer func(what, arg string) ([]byte, bool)
}

// Router routes for one node.
//
// Goroutines: one for each query of another node in progress; Leave waits for
// them. Lock order: registry.mu, then a pendingTable's; both may be held while
// queueing to an outbox or the bus, never while a session is flushed or
// closed. The locks of peerDirectory, queries and the positions of package
// federation are leaves.
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
	// other nodes; Commands for local devices wait in deviceConn.pending.
	remotePending pendingTable
	// lastCommand is the last number that was used for a command whose id at the
	// device differs from the asker's id.
	lastCommand atomic.Uint64
	// lastOrdinal is the number of the last command in events.
	lastOrdinal atomic.Uint64

	peers   peerDirectory
	queries queries
	// answering waits for the goroutines that answer queries of other nodes;
	// answeringNow counts them.
	answering    sync.WaitGroup
	answeringNow atomic.Int32
	// positions runs from Join to Leave.
	positions positionReporter
}

var _ session.Callbacks = (*Router)(nil)

// New returns a Router. Call Bind before use.
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

// Bind sets the Manager whose Callbacks the router is.
func (r *Router) Bind(m *session.Manager) { r.manager, r.managerStart = m, time.Now().Add(-m.Now()) }

// Node returns this gateway's name.
func (r *Router) Node() string { return r.opts.Node }

// Stats returns the counters of the router.
func (r *Router) Stats() *Stats { return &r.stats }

// Prepare implements session.Callbacks: it creates the router's state of a
// session before any other goroutine can find the session. A device's welcome
// is queued here, because the welcome must be the first message on every
// connection, and a command may be queued as soon as other goroutines find the
// session.
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

// OnMessage implements session.Callbacks: it routes a text message by its
// envelope, and handles a binary message as telemetry.
func (r *Router) OnMessage(s *session.Session, op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		r.routeTelemetry(s, payload)
	} else {
		r.routeText(s, payload)
	}
	return nil
}

// OnEndRead implements session.Callbacks: it passes the batch of the read
// event to the receivers.
func (r *Router) OnEndRead(s *session.Session) {
	if c, ok := s.Attachment().(*deviceConn); ok {
		r.endBatch(c)
	}
}

// OnDisconnect implements session.Callbacks: it ends the commands that wait for
// the device, or the commands of the front end, and removes the session from every
// table.
func (r *Router) OnDisconnect(s *session.Session, cause session.Cause) {
	switch a := s.Attachment().(type) {
	case *deviceConn:
		r.failCommands(a.pending.close(), deviceGone)
		r.registry.deviceDisconnected(a, cause)
	case *frontend:
		a.dropCommands()
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

// refuse answers an unacceptable message with gateway.error, and closes a
// session that sends too many of them. The session's reading goroutine calls
// refuse.
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
