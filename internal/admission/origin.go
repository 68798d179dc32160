package admission

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// CheckOrigin keeps the pages of other sites out that a browser shows, of the
// WebSocket and of the HTTP API alike. (The gateway's own page holds nothing,
// and others may link to it.) What does not come from a browser's page has
// neither of the two fields that are looked at.
func (a *Admission) CheckOrigin(r *http.Request) *Refusal {
	origin := r.Header.Get("Origin")
	for _, allowed := range a.opts.AllowedOrigins {
		if allowed == "*" || origin != "" && strings.EqualFold(allowed, origin) {
			return nil
		}
	}
	switch {
	case origin != "" && (!a.ownOrigin(r, origin) || !isWebSocket(r) && FromOtherSite(r)):
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "origin %q is neither this gateway's own nor allowed; add it with --allowed-origins", Clip(origin))
	case origin == "" && FromOtherSite(r):
		// A page that only reads, and does not want to know the answer, has none.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Sec-Fetch-Site: a page of another site asks; open the gateway's own page, or add the other's origin with --allowed-origins")
	case (origin != "" || !isWebSocket(r)) && a.rebindable(r):
		// A page that reads from its own origin has none either, but it has one
		// with a WebSocket.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Host: a gateway that is on loopback and wants no token answers to an address or localhost only, not to %q; use that, or add the name's origin with --allowed-origins", Clip(r.Host))
	}
	return nil
}

// ownOrigin reports whether an origin is that of the gateway's own page, as the
// browser knows it: the host is the one that it asked. Behind a proxy that ends
// TLS the scheme cannot be known.
func (a *Admission) ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || a.opts.TLS && u.Scheme != "https" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host)
}

// rebindable reports whether a page's request might come from a site whose name
// was made to point to this machine (DNS rebinding): such a page is of the same
// origin as what it asks, as far as a browser knows. On loopback, and where no
// token is asked for, only names are believed that nobody else can have, and
// those that were named.
func (a *Admission) rebindable(r *http.Request) bool {
	open := a.authenticator.OpenTo(access.RoleFrontend) || a.authenticator.OpenTo(access.RoleDevice)
	if !open || !OnLoopback(a.opts.Listen) || OfThisMachine(r.Host) {
		return false
	}
	return !slices.ContainsFunc(a.opts.AllowedOrigins, func(allowed string) bool {
		u, err := url.Parse(allowed)
		return allowed == "*" || err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	})
}

// FromOtherSite reports whether a browser says that a page of another site, or
// of another origin of the same site, makes the request (Fetch Metadata).
func FromOtherSite(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Sec-Fetch-Site"), func(site string) bool {
		return site != "same-origin" && site != "none"
	})
}

// isWebSocket reports whether a request is for a WebSocket. Browsers always
// state its origin, and not all agree on what its site is.
func isWebSocket(r *http.Request) bool { return headerHas(r.Header, "Upgrade", "websocket") }
