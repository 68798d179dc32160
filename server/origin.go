package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// checkOrigin keeps the pages of other sites out that a browser shows, of the
// WebSocket and of the HTTP API alike. (The gateway's own page holds nothing,
// and others may link to it.) What does not come from a browser's page has
// neither of the two fields that are looked at.
func (s *Server) checkOrigin(r *http.Request) *refusal {
	origin := r.Header.Get("Origin")
	for _, allowed := range s.opts.AllowedOrigins {
		if allowed == "*" || origin != "" && strings.EqualFold(allowed, origin) {
			return nil
		}
	}
	switch {
	case origin != "" && (!s.ownOrigin(r, origin) || !isWebSocket(r) && fromOtherSite(r)):
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "origin %q is neither this gateway's own nor allowed; add it with --allowed-origins", clip(origin))
	case origin == "" && fromOtherSite(r):
		// A page that only reads, and does not want to know the answer, has none.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Sec-Fetch-Site: a page of another site asks; open the gateway's own page, or add the other's origin with --allowed-origins")
	case (origin != "" || !isWebSocket(r)) && s.rebindable(r):
		// A page that reads from its own origin has none either, but it has one
		// with a WebSocket.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Host: a gateway that is on loopback and wants no token answers to an address or localhost only, not to %q; use that, or add the name's origin with --allowed-origins", clip(r.Host))
	}
	return nil
}

// ownOrigin reports whether an origin is that of the gateway's own page, as the
// browser knows it: the host is the one that it asked. Behind a proxy that ends
// TLS the scheme cannot be known.
func (s *Server) ownOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || s.opts.TLSCert != "" && u.Scheme != "https" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host)
}

// rebindable reports whether a page's request might come from a site whose name
// was made to point to this machine (DNS rebinding): such a page is of the same
// origin as what it asks, as far as a browser knows. On loopback, and where no
// token is asked for, only names are believed that nobody else can have, and
// those that were named.
func (s *Server) rebindable(r *http.Request) bool {
	open := s.access.OpenTo(access.RoleFrontend) || s.access.OpenTo(access.RoleDevice)
	if !open || !onLoopback(s.opts.Listen) || machineHost(r.Host) {
		return false
	}
	return !slices.ContainsFunc(s.opts.AllowedOrigins, func(allowed string) bool {
		u, err := url.Parse(allowed)
		return allowed == "*" || err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	})
}

// machineHost reports whether a Host field names a machine by address, or as
// localhost (RFC 6761 section 6.3).
func machineHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	host = strings.ToLower(host)
	return err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// fromOtherSite reports whether a browser says that a page of another site, or
// of another origin of the same site, makes the request (Fetch Metadata).
func fromOtherSite(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Sec-Fetch-Site"), func(site string) bool {
		return site != "same-origin" && site != "none"
	})
}

// isWebSocket reports whether a request is for a WebSocket. Browsers always
// state its origin, and not all agree on what its site is.
func isWebSocket(r *http.Request) bool { return headerHas(r.Header, "Upgrade", "websocket") }
