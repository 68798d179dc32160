package admission

import (
	"sync"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// credential is what let a session in. It ends the session when it expires or is
// revoked, and warns it before it expires. A session that needed no credential
// has none.
type credential struct {
	admission *Admission
	timer     session.Timer
	// counted is what the limits count the session by: the source that it began
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

func newCredential(a *Admission, id access.Identity) *credential {
	c := &credential{admission: a, counted: id.Source, source: id.Source, expires: id.Expires}
	c.timer.Owner = c
	return c
}

func credentialOf(s *session.Session) *credential {
	c, _ := s.Info().Access.(*credential)
	return c
}

// SessionAdded begins to watch over the credential of a session that was added
// to the Manager.
func (a *Admission) SessionAdded(s *session.Session) {
	if c := credentialOf(s); c != nil {
		c.begin(s)
	}
}

// begin runs once the session can be found. A revocation that came before that
// passed the session over.
func (c *credential) begin(sess *session.Session) {
	c.mu.Lock()
	c.sess = sess
	c.plan(time.Now())
	source := c.source
	c.mu.Unlock()
	if !c.admission.authenticator.InForce(source) {
		revoke(sess)
	}
}

func (c *credential) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.source
}

// revoked ends the sessions of credentials that are no longer in force.
func (a *Admission) revoked(gone access.Sources) {
	ended := 0
	for _, sess := range a.sessions.Sessions() {
		if c := credentialOf(sess); c != nil && gone.Covers(c.current()) {
			revoke(sess)
			ended++
		}
	}
	a.log.Warn().Strs("credentials", gone[:min(len(gone), 10)]).Int("revoked", len(gone)).Int("sessions", ended).Msg("credentials are no longer in force; their sessions were ended")
}

// revoke ends a session at once: what is queued for it is no longer for it.
func revoke(sess *session.Session) {
	sess.Fail(protocol.CloseUnauthorized, "its credential was revoked")
}
