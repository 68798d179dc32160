package server

import (
	"net/http"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
)

// guardAdmin asks for a token of --admin-token-file on every path of the admin
// listener but those of a load balancer's or an orchestrator's probes, which
// tell no more than whether the gateway is well. Pages have no business on this
// listener: a browser's are refused, whatever their origin, and so is a name
// that somebody may have made to point to this machine.
func (s *Server) guardAdmin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		if fromOtherSite(r) || r.Header.Get("Origin") != "" {
			writeError(w, http.StatusForbidden, protocol.ErrNotAllowed, "the admin listener is not for pages of other sites; open it directly")
			return
		}
		switch open := s.access.OpenTo(access.RoleAdmin); {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
		case open && !machineHost(r.Host):
			writeError(w, http.StatusForbidden, protocol.ErrNotAllowed, "header Host: without --admin-token-file the admin listener answers to an address or localhost only")
			return
		case !open:
			if _, err := s.access.Authenticate(access.RoleAdmin, "", presentedToken(r, nil), nil); err != nil {
				s.countRefusal(err)
				h.Set("WWW-Authenticate", `Bearer realm="labgate admin"`)
				writeError(w, http.StatusUnauthorized, protocol.ErrNotAllowed, `a token of --admin-token-file is needed; send it as "Authorization: Bearer TOKEN"`)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
