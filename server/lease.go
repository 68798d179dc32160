package server

import (
	"sync"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	// leaseLook is the longest time between two looks at a lease. An expiry is a
	// time of day, and the clock may be set meanwhile.
	leaseLook = time.Minute
	// renewPause is the least time between two renewals of one session: each
	// may cost the check of a signature on the poller.
	renewPause = 100 * time.Millisecond
)

// lease is a session's hold on the credential that let it in. It ends the
// session with the credential, and warns it before. A session that needed no
// credential has none.
type lease struct {
	server *Server
	timer  session.Timer
	// counted is what the guard counts the session by: the source that it began
	// with.
	counted string

	// mu guards the rest. Below it is the wheel's lock only.
	mu      sync.Mutex
	sess    *session.Session // nil until begin
	source  string           // names the credential, see access.Identity
	expires time.Time        // zero: never
	warnAt  time.Time        // zero: warned, or nothing to warn of
	tried   time.Time        // the last renewal
	ended   bool
}

func newLease(s *Server, id access.Identity) *lease {
	l := &lease{server: s, counted: id.Source, source: id.Source, expires: id.Expires}
	l.timer.Owner = l
	return l
}

// addSession adds a session and begins its lease.
func (s *Server) addSession(info session.Info, t session.Transport) (*session.Session, error) {
	if err := s.refuseHeldElsewhere(&info); err != nil {
		return nil, err
	}
	sess, err := s.manager.Add(info, t)
	if err != nil {
		return nil, err
	}
	if l := leaseOf(sess); l != nil {
		l.begin(sess)
	}
	return sess, nil
}

func leaseOf(s *session.Session) *lease {
	l, _ := s.Info().Access.(*lease)
	return l
}

// begin runs once the session can be found. A revocation that came before that
// passed the session over.
func (l *lease) begin(sess *session.Session) {
	l.mu.Lock()
	l.sess = sess
	l.plan(time.Now())
	source := l.source
	l.mu.Unlock()
	l.server.log.Debug().Stringer("session", sess.ID()).Str("credential", source).Msg("session admitted")
	if !l.server.access.InForce(source) {
		revoke(sess)
	}
}

// leaseCallbacks end a session's lease with the session.
type leaseCallbacks struct {
	session.Callbacks
	server *Server
}

// OnDisconnect implements session.Callbacks.
func (c leaseCallbacks) OnDisconnect(sess *session.Session, cause session.Cause) {
	if l := leaseOf(sess); l != nil {
		c.server.manager.Wheel().Cancel(&l.timer)
	}
	c.Callbacks.OnDisconnect(sess, cause)
}

// plan sets the time of the warning and arms the timer. The caller holds mu.
func (l *lease) plan(now time.Time) {
	if l.expires.IsZero() {
		l.warnAt = time.Time{}
		return
	}
	left := l.expires.Sub(now)
	l.warnAt = l.expires.Add(-min(l.server.opts.TokenWarning, left/2))
	l.arm(now)
}

// arm sets the timer for whatever is next. The caller holds mu.
func (l *lease) arm(now time.Time) {
	next := l.expires
	if !l.warnAt.IsZero() {
		next = l.warnAt
	}
	wheel := l.server.manager.Wheel()
	wheel.Schedule(&l.timer, now.Add(min(next.Sub(now), leaseLook)))
	// The session's end may have stopped the timer just before.
	if !l.sess.Open() {
		wheel.Cancel(&l.timer)
	}
}

// Expire warns the session or ends it, on the wheel's goroutine.
func (l *lease) Expire(time.Time) {
	// Not the wheel's time, which stands still while the machine sleeps.
	now := time.Now()
	l.mu.Lock()
	left := l.expires.Sub(now)
	switch {
	case l.expires.IsZero() || l.ended:
		l.mu.Unlock()
	case left <= 0:
		l.ended = true
		l.mu.Unlock()
		l.sess.Close(protocol.CloseUnauthorized, "its credential has expired")
	case !l.warnAt.IsZero() && !now.Before(l.warnAt):
		l.warnAt = time.Time{}
		l.arm(now)
		l.mu.Unlock()
		l.warn(left)
	default:
		l.arm(now)
		l.mu.Unlock()
	}
}

func (l *lease) warn(left time.Duration) {
	msg, err := protocol.NewMessage(protocol.TypeTokenExpiring, expiry(left))
	if err == nil && l.sess.SendMessage(&msg, false) == nil {
		l.sess.Schedule()
	}
}

func expiry(left time.Duration) protocol.Expiry {
	ms := max(left.Milliseconds(), 0)
	return protocol.Expiry{ExpiresInMS: &ms}
}

// renew has a session go on with another token, on its reading goroutine. It
// must be one for the same role and the same name; its permissions hold from
// now on.
func (s *Server) renew(sess *session.Session, token string) (protocol.Expiry, *protocol.Error) {
	l := leaseOf(sess)
	if l == nil {
		// Nothing was asked for, so nothing expires.
		return protocol.Expiry{}, nil
	}
	if !l.mayTry(time.Now()) {
		return protocol.Expiry{}, &protocol.Error{Code: protocol.ErrRateLimited, Message: "the credential was renewed a moment ago; wait until the gateway says that it is about to expire"}
	}
	id, ref := s.identify(accessRole(sess.Role()), sess.Name(), token)
	if ref != nil {
		return protocol.Expiry{}, ref
	}
	now := time.Now()
	if !l.replace(id, now) {
		return protocol.Expiry{}, &protocol.Error{Code: protocol.ErrNotAllowed, Message: "the credential has expired already; connect again with the new one"}
	}
	s.router.SetRights(sess, rightsOf(id))
	s.log.Debug().Stringer("session", sess.ID()).Str("credential", id.Source).Time("expires", id.Expires).Msg("credential renewed")
	if !s.access.InForce(id.Source) {
		revoke(sess)
	}
	if id.Expires.IsZero() {
		return protocol.Expiry{}, nil
	}
	return expiry(id.Expires.Sub(now)), nil
}

// identify says whose token is presented in place of another of that role and
// name.
func (s *Server) identify(role access.Role, name, token string) (access.Identity, *protocol.Error) {
	id, err := s.access.Authenticate(role, name, token, nil)
	if err != nil {
		s.countRefusal(err)
		return id, &protocol.Error{Code: protocol.ErrNotAllowed, Message: err.Error()}
	}
	// An empty name fits every credential, but a session cannot take a name
	// later on.
	if id.Name != "" && id.Name != name {
		s.stats.refuseCredential(access.WrongName)
		return id, &protocol.Error{Code: protocol.ErrNotAllowed, Message: "the token is bound to a user, and this session has none; connect again with it"}
	}
	return id, nil
}

// mayTry notes a renewal and reports whether it is not too soon.
func (l *lease) mayTry(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.tried) < renewPause {
		return false
	}
	l.tried = now
	return true
}

// replace takes another credential in the place of the one that was, unless
// that has ended the session already.
func (l *lease) replace(id access.Identity, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	warned := l.warnAt.IsZero() && !l.expires.IsZero()
	longer := id.Expires.IsZero() || id.Expires.After(l.expires)
	l.source, l.expires = id.Source, id.Expires
	l.plan(now)
	// Who brings the same token again is not warned again and again.
	if warned && !longer {
		l.warnAt = time.Time{}
		l.arm(now)
	}
	return true
}

// revoked ends the sessions of credentials that are no longer in force.
func (s *Server) revoked(gone access.Sources) {
	ended := 0
	for _, sess := range s.manager.Sessions() {
		if l := leaseOf(sess); l != nil && gone.Covers(l.credential()) {
			revoke(sess)
			ended++
		}
	}
	s.log.Warn().Strs("credentials", gone[:min(len(gone), 10)]).Int("revoked", len(gone)).Int("sessions", ended).Msg("credentials are no longer in force; their sessions were ended")
}

func (l *lease) credential() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source
}

// revoke ends a session at once: what is queued for it is no longer for it.
func revoke(sess *session.Session) {
	sess.Fail(protocol.CloseUnauthorized, "its credential was revoked")
}
