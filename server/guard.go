package server

import (
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// The reasons for which connections and handshakes are refused at a limit, in
// the metrics.
const (
	refusedTotal   = "connections"
	refusedAddress = "address"
	refusedRate    = "rate"
	refusedUser    = "sessions_per_user"

	refusedCredential = "sessions_per_credential"
)

// guard holds clients to the limits on their number: connections of one
// address, connections a second, sessions of one user and of one credential.
//
// A connection is counted when it is accepted and until it has ended, by the
// address of its other end. Those of a trusted proxy are not: behind it, the
// WebSocket sessions are counted by the address that it forwards.
type guard struct {
	trusted     proxies
	addresses   quota[netip.Prefix]
	users       quota[string]
	credentials quota[string]
	storm       stormGuard
}

func newGuard(o *Options) (*guard, error) {
	trusted, err := parseProxies(o.TrustedProxies)
	if err != nil {
		return nil, err
	}
	return &guard{
		trusted:     trusted,
		addresses:   quota[netip.Prefix]{limit: o.MaxConnectionsPerAddress},
		users:       quota[string]{limit: o.MaxSessionsPerUser},
		credentials: quota[string]{limit: o.MaxSessionsPerCredential},
		storm:       stormGuard{rate: o.MaxConnectionRate},
	}, nil
}

// admitConnection decides about a connection that was just accepted. A nil
// answer lets it in: release it with connectionEnded.
func (s *Server) admitConnection(conn net.Conn) *refusal {
	if s.stats.connections.Load() >= int64(s.opts.MaxConnections) {
		return s.refuseConnection(conn, refusedTotal, http.StatusServiceUnavailable, s.retryAfter(), "the gateway serves its limit of %d connections; try again later, or raise --max-connections", s.opts.MaxConnections)
	}
	if wait := s.guard.storm.take(time.Now()); wait > 0 {
		return s.refuseConnection(conn, refusedRate, http.StatusServiceUnavailable, strconv.Itoa(wait), "more than %v new connections a second; try again later, or raise --max-connection-rate", s.opts.MaxConnectionRate)
	}
	if key, ok := s.countedKey(conn.RemoteAddr()); ok && !s.guard.addresses.acquire(key) {
		return s.refuseConnection(conn, refusedAddress, http.StatusTooManyRequests, s.retryAfter(), "this address has %d connections, its limit; close some, or raise --max-connections-per-address", s.opts.MaxConnectionsPerAddress)
	}
	s.stats.connections.Add(1)
	return nil
}

func (s *Server) refuseConnection(conn net.Conn, reason string, status int, retryAfter, format string, args ...any) *refusal {
	s.stats.refusedConnections.add(reason)
	ref := refuse(status, protocol.ErrOverloaded, format, args...)
	ref.retryAfter = retryAfter
	s.log.Debug().Stringer("remote", conn.RemoteAddr()).Str("reason", ref.message).Msg("connection refused")
	return ref
}

// connectionEnded gives back what admitConnection took.
func (s *Server) connectionEnded(remote net.Addr) {
	s.stats.connections.Add(-1)
	if key, ok := s.countedKey(remote); ok {
		s.guard.addresses.release(key)
	}
}

// countedKey returns what a connection is counted by, if it is.
func (s *Server) countedKey(remote net.Addr) (netip.Prefix, bool) {
	if s.guard.addresses.limit == 0 {
		return netip.Prefix{}, false
	}
	addr, ok := peerOf(remote)
	if !ok || s.guard.trusted.trust(addr) {
		return netip.Prefix{}, false
	}
	return addressKey(addr), true
}

// admitSession decides about a handshake that was found acceptable. A nil
// answer lets it in: release it with sessionEnded.
func (s *Server) admitSession(info *session.Info) *refusal {
	if user := userOf(info); user != "" && !s.guard.users.acquire(user) {
		ref := refuse(http.StatusTooManyRequests, protocol.ErrOverloaded, "user %q has %d sessions, the limit; close some, or raise --max-sessions-per-user", clip(user), s.opts.MaxSessionsPerUser)
		ref.reason = refusedUser
		return ref
	}
	if !s.acquireCredential(info) {
		s.releaseUser(info)
		ref := refuse(http.StatusTooManyRequests, protocol.ErrOverloaded, "this credential has %d sessions, the limit; close some, give each peer a credential of its own, or raise --max-sessions-per-credential", s.opts.MaxSessionsPerCredential)
		ref.reason = refusedCredential
		return ref
	}
	if key, ok := s.forwardedKey(info); ok && !s.guard.addresses.acquire(key) {
		s.releaseUser(info)
		s.releaseCredential(info)
		ref := refuse(http.StatusTooManyRequests, protocol.ErrOverloaded, "this address has %d sessions, its limit; close some, or raise --max-connections-per-address", s.opts.MaxConnectionsPerAddress)
		ref.reason = refusedAddress
		return ref
	}
	return nil
}

// sessionEnded gives back what admitSession took.
func (s *Server) sessionEnded(info *session.Info) {
	s.releaseUser(info)
	s.releaseCredential(info)
	if key, ok := s.forwardedKey(info); ok {
		s.guard.addresses.release(key)
	}
}

func (s *Server) releaseUser(info *session.Info) {
	if user := userOf(info); user != "" {
		s.guard.users.release(user)
	}
}

// acquireCredential counts a session by the credential that let it in. A device
// that comes again while its old connection has not been found dead takes that
// one's place, which is given back in a moment.
func (s *Server) acquireCredential(info *session.Info) bool {
	l, ok := info.Access.(*lease)
	if !ok {
		return true
	}
	spare := 0
	if info.Role == session.RoleDevice {
		if old := s.manager.ByDevice(info.Name); old != nil && leaseOf(old) != nil && leaseOf(old).counted == l.counted {
			spare = 1
		}
	}
	return s.guard.credentials.acquireBeyond(l.counted, spare)
}

func (s *Server) releaseCredential(info *session.Info) {
	if l, ok := info.Access.(*lease); ok {
		s.guard.credentials.release(l.counted)
	}
}

func userOf(info *session.Info) string {
	if info.Role == session.RoleFrontend {
		return info.Name
	}
	return ""
}

// forwardedKey returns what a session behind a proxy is counted by. Only an
// address that was forwarded has no port.
func (s *Server) forwardedKey(info *session.Info) (netip.Prefix, bool) {
	if s.guard.addresses.limit == 0 {
		return netip.Prefix{}, false
	}
	addr, err := netip.ParseAddr(info.Remote)
	if err != nil {
		return netip.Prefix{}, false
	}
	return addressKey(addr), true
}

// guardCallbacks give back what admitSession took when a session has ended, and
// keep a panic at either end of a session from reaching its goroutine: a
// poller's, a flusher's, the wheel's.
type guardCallbacks struct {
	session.Callbacks
	server *Server
}

// OnConnect implements session.Callbacks.
func (c guardCallbacks) OnConnect(sess *session.Session) {
	if !c.server.survive(func() { c.Callbacks.OnConnect(sess) }) {
		sess.Fail(protocol.CloseInternal, "internal error")
	}
}

// OnDisconnect implements session.Callbacks.
func (c guardCallbacks) OnDisconnect(sess *session.Session, cause session.Cause) {
	c.server.sessionEnded(sess.Info())
	c.server.survive(func() { c.Callbacks.OnDisconnect(sess, cause) })
}

// quota counts by key up to a limit; 0 is none, and then nothing is counted.
type quota[K comparable] struct {
	limit int

	// mu guards held; a leaf.
	mu   sync.Mutex
	held map[K]int
}

func (q *quota[K]) acquire(key K) bool { return q.acquireBeyond(key, 0) }

// acquireBeyond lets a key have as many more than the limit.
func (q *quota[K]) acquireBeyond(key K, spare int) bool {
	if q.limit == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[key] >= q.limit+spare {
		return false
	}
	if q.held == nil {
		q.held = make(map[K]int)
	}
	q.held[key]++
	return true
}

func (q *quota[K]) release(key K) {
	if q.limit == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[key]--; q.held[key] <= 0 {
		delete(q.held, key)
	}
}

// stormGuard lets a number of connections in each second. All come back after
// a restart or a cut cable; those that are sent away are spread over the time
// that the others need.
type stormGuard struct {
	rate float64 // 0: no limit

	// mu guards the rest; a leaf.
	mu      sync.Mutex
	tokens  float64
	last    time.Time
	waiting float64 // those sent away of late, one less for each that may come
}

// maxStormWait bounds what a client is told to wait, in seconds.
const maxStormWait = 60

// take returns 0 to let a connection in, or the seconds that it should stay
// away.
func (g *stormGuard) take(now time.Time) int {
	if g.rate == 0 {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	burst := max(g.rate, 1)
	grown := burst
	if !g.last.IsZero() {
		grown = now.Sub(g.last).Seconds() * g.rate
	}
	g.last = now
	g.tokens = min(g.tokens+grown, burst)
	g.waiting = max(g.waiting-grown, 0)
	if g.tokens >= 1 {
		g.tokens--
		return 0
	}
	g.waiting++
	spread := min(g.waiting/g.rate, maxStormWait-1)
	return 1 + int(math.Floor(rand.Float64()*(spread+1)))
}

// clientAddress replaces the address of a request by that of its client, when a
// trusted proxy names it.
func (s *Server) clientAddress(r *http.Request) {
	r.RemoteAddr = s.guard.trusted.client(r)
}
