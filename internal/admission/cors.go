package admission

import (
	"net/http"
)

// preflightAge is how long a browser may go by the answer to a preflight, in
// seconds.
const preflightAge = "600"

// LetPageRead tells the browser that the page that makes a request may read the
// response, if --allowed-origins allows the page (Fetch Standard, CORS protocol).
// Call it before the response is written, a refusal too. It reports whether the
// page is one of those.
//
// The gateway's own page needs no such leave. Cookies are never asked for: a page
// brings its token itself.
func (a *Admission) LetPageRead(w http.ResponseWriter, r *http.Request) bool {
	stated := statedOrigin(r)
	if stated == "" || !a.origins.page(r) {
		return false
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	header.Set("Access-Control-Allow-Origin", stated)
	header.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
	return true
}

// IsPreflight reports whether a browser asks by a request whether a page may make
// another one (Fetch Standard, CORS-preflight request). Such a request has no
// token.
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// AnswerPreflight answers a preflight of a page that LetPageRead has let read,
// with the methods that it may use.
func AnswerPreflight(w http.ResponseWriter, methods string) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", methods)
	header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match")
	header.Set("Access-Control-Max-Age", preflightAge)
	w.WriteHeader(http.StatusNoContent)
}
