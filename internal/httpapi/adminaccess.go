package httpapi

import (
	"net/http"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// restrict asks for a token of --admin-token-file on every path of the admin
// listener but those of a load balancer's or an orchestrator's probes, which
// tell no more than whether the gateway is well. Pages have no business on this
// listener: a browser's are refused, whatever their origin, and so is a name
// that somebody may have made to point to this machine.
func (a *Admin) restrict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		if admission.FromOtherSite(r) || r.Header.Get("Origin") != "" {
			httpresponse.WriteError(w, http.StatusForbidden, protocol.ErrNotAllowed, "the admin listener is not for pages of other sites; open it directly")
			return
		}
		switch open := a.opts.Admission.OpenTo(access.RoleAdmin); {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
		case open && !admission.OfThisMachine(r.Host):
			httpresponse.WriteError(w, http.StatusForbidden, protocol.ErrNotAllowed, "header Host: without --admin-token-file the admin listener answers to an address or localhost only")
			return
		case !open:
			if _, ref := a.opts.Admission.Authenticate(r, access.RoleAdmin, "", nil); ref != nil {
				a.opts.Admission.NoteRequestRefused(r, ref)
				h.Set("WWW-Authenticate", `Bearer realm="labgate admin"`)
				httpresponse.WriteError(w, http.StatusUnauthorized, protocol.ErrNotAllowed, `a token of --admin-token-file is needed; send it as "Authorization: Bearer TOKEN"`)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
