package admission

import (
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// renewPause is the least time between two renewals of one session: each may
// cost the check of a signature on the poller.
const renewPause = 100 * time.Millisecond

// Renew lets a session go on with another token, on the session's reading
// goroutine. The token must be for the same role and the same name; its
// permissions hold from now on.
func (a *Admission) Renew(sess *session.Session, token string) (protocol.Expiry, *protocol.Error) {
	c := credentialOf(sess)
	if c == nil {
		// Nothing was asked for, so nothing expires.
		return protocol.Expiry{}, nil
	}
	if !c.mayTry(time.Now()) {
		return protocol.Expiry{}, &protocol.Error{Code: protocol.ErrRateLimited, Message: "the credential was renewed a moment ago; wait until the gateway says that it is about to expire"}
	}
	id, ref := a.identify(roles[sess.Role()].access, sess.Name(), token)
	if ref != nil {
		return protocol.Expiry{}, ref
	}
	now := time.Now()
	if !c.replace(id, now) {
		return protocol.Expiry{}, &protocol.Error{Code: protocol.ErrNotAllowed, Message: "the credential has expired already; connect again with the new one"}
	}
	a.rights.SetRights(sess, rightsOf(id))
	a.log.Debug().Stringer("session", sess.ID()).Str("credential", id.Source).Time("expires", id.Expires).Msg("credential renewed")
	if !a.authenticator.InForce(id.Source) {
		revoke(sess)
	}
	if id.Expires.IsZero() {
		return protocol.Expiry{}, nil
	}
	return expiryIn(id.Expires.Sub(now)), nil
}

// identify says whose token is presented in place of another of that role and
// name.
func (a *Admission) identify(role access.Role, name, token string) (access.Identity, *protocol.Error) {
	id, err := a.authenticator.Authenticate(role, name, token, nil)
	if err != nil {
		a.countRefusedCredential(err)
		return id, &protocol.Error{Code: protocol.ErrNotAllowed, Message: err.Error()}
	}
	// An empty name fits every credential, but a session cannot take a name
	// later on.
	if id.Name != "" && id.Name != name {
		a.counters.RefusedCredentials.Add(string(access.WrongName))
		return id, &protocol.Error{Code: protocol.ErrNotAllowed, Message: "the token is bound to a user, and this session has none; connect again with it"}
	}
	return id, nil
}

// mayTry notes a renewal and reports whether it is not too soon.
func (c *credential) mayTry(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.tried) < renewPause {
		return false
	}
	c.tried = now
	return true
}

// replace takes another credential in the place of the one that was, unless
// that has ended the session already.
func (c *credential) replace(id access.Identity, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	warned := c.warnAt.IsZero() && !c.expires.IsZero()
	longer := id.Expires.IsZero() || id.Expires.After(c.expires)
	c.source, c.expires = id.Source, id.Expires
	c.plan(now)
	// A peer that brings the same token again is not warned again and again.
	if warned && !longer {
		c.warnAt = time.Time{}
		c.arm(now)
	}
	return true
}
