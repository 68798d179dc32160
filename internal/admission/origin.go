package admission

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// allowedOrigins are the origins of --allowed-origins. The zero value allows
// none.
type allowedOrigins struct {
	all  bool
	list []webOrigin
}

// parseAllowedOrigins reads the option and refuses what no browser sends.
func parseAllowedOrigins(list []string) (allowedOrigins, error) {
	var allowed allowedOrigins
	for _, text := range list {
		if text = strings.TrimSpace(text); text == "*" {
			allowed.all = true
			continue
		}
		o, err := parseOrigin(text)
		if err != nil {
			return allowedOrigins{}, fmt.Errorf("%q: %w", text, err)
		}
		allowed.list = append(allowed.list, o)
	}
	return allowed, nil
}

// page reports whether the page that makes a request is allowed by its origin.
func (l *allowedOrigins) page(r *http.Request) bool {
	if l.all {
		return true
	}
	origin, ok := pageOrigin(r)
	return ok && slices.Contains(l.list, origin)
}

// host reports whether a Host field names the host of an allowed origin, on
// whatever port.
func (l *allowedOrigins) host(hostport string) bool {
	if l.all {
		return true
	}
	host, _, err := splitAuthority(hostport)
	return err == nil && slices.ContainsFunc(l.list, func(o webOrigin) bool { return o.host == host })
}

// CheckOrigin refuses requests of other sites' pages, for a WebSocket and for the
// HTTP API alike. (The gateway's own page holds nothing, and others may link to
// it.) A request that does not come from a browser's page has neither of the two
// fields Origin and Sec-Fetch-Site, or says by its token that it does not.
func (a *Admission) CheckOrigin(r *http.Request) *Refusal {
	if a.origins.page(r) || withTokenOfProgram(r) {
		return nil
	}
	stated := statedOrigin(r)
	switch {
	case stated != "" && (!a.ownOrigin(r) || !isWebSocket(r) && FromOtherSite(r)):
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "origin %q is neither this gateway's own nor allowed; add it with --allowed-origins", Clip(stated))
	case stated == "" && FromOtherSite(r):
		// A page that only reads, and does not want to know the answer, has none.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Sec-Fetch-Site: a page of another site asks; open the gateway's own page, or add the other's origin with --allowed-origins")
	case (stated != "" || !isWebSocket(r)) && a.rebindable(r):
		// A page that reads from its own origin has none either, but it has one
		// with a WebSocket.
		return refuse(http.StatusForbidden, protocol.ErrNotAllowed, "header Host: a gateway that is on loopback and wants no token answers to an address or localhost only, not to %q; use that, or add the name's origin with --allowed-origins", Clip(r.Host))
	}
	return nil
}

// statedOrigin returns the Origin of a request as it came; empty: there is none.
// A second one makes an origin that nobody has.
func statedOrigin(r *http.Request) string { return strings.Join(r.Header.Values("Origin"), ", ") }

// pageOrigin returns the origin of the page that makes a request; false when the
// request has none, or one that cannot be read. "file:", which some programs and
// browsers inside of apps send, is an opaque origin as "null" is.
func pageOrigin(r *http.Request) (webOrigin, bool) {
	stated := statedOrigin(r)
	if stated == "file://" {
		return webOrigin{}, true
	}
	origin, err := parseOrigin(stated)
	return origin, err == nil
}

// ownOrigin reports whether a request comes from the gateway's own page, as the
// browser knows it: the page's host is the one that the request asks. Behind a
// proxy that ends TLS the gateway cannot know the scheme, and takes the default
// port of the page's.
func (a *Admission) ownOrigin(r *http.Request) bool {
	origin, ok := pageOrigin(r)
	if !ok || origin.scheme != "https" && (a.opts.TLS || origin.scheme != "http") {
		return false
	}
	host, port, err := splitAuthority(r.Host)
	if port == "" {
		port = defaultPorts[origin.scheme]
	}
	return err == nil && host == origin.host && port == origin.port
}

// withTokenOfProgram reports whether a request for a WebSocket shows by its token
// that no browser's page makes it, whatever Origin it has: a page cannot set
// Authorization on a WebSocket, and what browsers put there by themselves is
// never a bearer token. Several libraries for programs always send an Origin.
func withTokenOfProgram(r *http.Request) bool {
	_, bearer := bearerToken(r)
	return bearer && isWebSocket(r) && len(r.Header.Values("Sec-Fetch-Site")) == 0
}

// rebindable reports whether a page's request might come from a site whose name
// was made to point to this machine (DNS rebinding): such a page is of the same
// origin as what it asks, as far as a browser knows. On loopback, and where no
// token is asked for, only names are believed that nobody else can have, and
// those that were named.
func (a *Admission) rebindable(r *http.Request) bool {
	open := a.authenticator.OpenTo(access.RoleFrontend) || a.authenticator.OpenTo(access.RoleDevice)
	return open && OnLoopback(a.opts.Listen) && !OfThisMachine(r.Host) && !a.origins.host(r.Host)
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
