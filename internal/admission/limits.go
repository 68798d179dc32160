package admission

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// A connection is counted when it is accepted and until it has ended, by the
// address of its other end. Those of a trusted proxy are not: behind a proxy the
// sessions are counted, by the address that the proxy forwards.

// CheckConnection decides about a connection that was just accepted. A nil
// refusal lets it in: give its place back with ConnectionEnded.
func (a *Admission) CheckConnection(remote net.Addr) *Refusal {
	if a.counters.Connections.Load() >= int64(a.opts.MaxConnections) {
		return a.refuseConnection(remote, refusedTotal, http.StatusServiceUnavailable, "the gateway serves its limit of %d connections; try again later, or raise --max-connections", a.opts.MaxConnections)
	}
	if wait := a.rate.take(time.Now()); wait > 0 {
		ref := a.refuseConnection(remote, refusedRate, http.StatusServiceUnavailable, "more than %v new connections a second; try again later, or raise --max-connection-rate", a.opts.MaxConnectionRate)
		ref.RetryAfter = strconv.Itoa(wait)
		return ref
	}
	if key, ok := a.connectionKey(remote); ok && !a.addresses.acquire(key) {
		return a.refuseConnection(remote, refusedAddress, http.StatusTooManyRequests, "this address has %d connections, its limit; close some, or raise --max-connections-per-address", a.opts.MaxConnectionsPerAddress)
	}
	a.counters.Connections.Add(1)
	return nil
}

func (a *Admission) refuseConnection(remote net.Addr, reason string, status int, format string, args ...any) *Refusal {
	a.counters.RefusedConnections.Add(reason)
	ref := a.refuseForNow(reason, status, protocol.ErrOverloaded, format, args...)
	a.events.ConnectionRefused(events.ConnectionRefused{Remote: remote.String(), Status: status, Reason: ref.Message})
	return ref
}

// ConnectionEnded gives back the place that CheckConnection took.
func (a *Admission) ConnectionEnded(remote net.Addr) {
	a.counters.Connections.Add(-1)
	if key, ok := a.connectionKey(remote); ok {
		a.addresses.release(key)
	}
}

// connectionKey returns what a connection is counted by, if it is.
func (a *Admission) connectionKey(remote net.Addr) (addressKey, bool) {
	if a.addresses.limit == 0 {
		return addressKey{}, false
	}
	addr, ok := peerOf(remote)
	if !ok || a.trusted.trust(addr) {
		return addressKey{}, false
	}
	return keyOf(addr), true
}

// takePlace takes a session's place within the limits. A nil refusal lets it in:
// give its place back with SessionEnded.
func (a *Admission) takePlace(info *session.Info) *Refusal {
	if user := userOf(info); user != "" && !a.users.acquire(user) {
		return a.refuseForNow(refusedUser, http.StatusTooManyRequests, protocol.ErrOverloaded, "user %q has %d sessions, the limit; close some, or raise --max-sessions-per-user", Clip(user), a.opts.MaxSessionsPerUser)
	}
	if !a.acquireCredential(info) {
		a.releaseUser(info)
		return a.refuseForNow(refusedCredential, http.StatusTooManyRequests, protocol.ErrOverloaded, "this credential has %d sessions, the limit; close some, give each peer a credential of its own, or raise --max-sessions-per-credential", a.opts.MaxSessionsPerCredential)
	}
	if key, ok := a.forwardedKey(info); ok && !a.addresses.acquire(key) {
		a.releaseUser(info)
		a.releaseCredential(info)
		return a.refuseForNow(refusedAddress, http.StatusTooManyRequests, protocol.ErrOverloaded, "this address has %d sessions, its limit; close some, or raise --max-connections-per-address", a.opts.MaxConnectionsPerAddress)
	}
	return nil
}

// SessionEnded gives back the place of an accepted handshake, when its session
// has ended or has not come to be.
func (a *Admission) SessionEnded(info *session.Info) {
	a.releaseUser(info)
	a.releaseCredential(info)
	if key, ok := a.forwardedKey(info); ok {
		a.addresses.release(key)
	}
}

func (a *Admission) releaseUser(info *session.Info) {
	if user := userOf(info); user != "" {
		a.users.release(user)
	}
}

// acquireCredential counts a session by the credential that let it in. A device
// that comes again while its old connection has not been found dead takes that
// one's place, which is given back in a moment.
func (a *Admission) acquireCredential(info *session.Info) bool {
	c, ok := info.Access.(*credential)
	if !ok {
		return true
	}
	spare := 0
	if info.Role == session.RoleDevice {
		if old := a.sessions.ByDevice(info.Name); old != nil && credentialOf(old) != nil && credentialOf(old).counted == c.counted {
			spare = 1
		}
	}
	return a.credentials.acquireBeyond(c.counted, spare)
}

func (a *Admission) releaseCredential(info *session.Info) {
	if c, ok := info.Access.(*credential); ok {
		a.credentials.release(c.counted)
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
func (a *Admission) forwardedKey(info *session.Info) (addressKey, bool) {
	if a.addresses.limit == 0 {
		return addressKey{}, false
	}
	addr, err := netip.ParseAddr(info.Remote)
	if err != nil {
		return addressKey{}, false
	}
	return keyOf(addr), true
}
