// Package httpapi is the gateway's HTTP API, the page, and the admin listener.
package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
	"github.com/labgate/labgate/web"
)

// Options configures an API. All are required.
type Options struct {
	// Node is this gateway's name.
	Node string
	// MaxMessage is the largest body in bytes (--max-message).
	MaxMessage int

	Sessions  *session.Manager
	Router    *router.Router
	Bus       federation.Bus
	Admission *admission.Admission
	Logger    zerolog.Logger
}

// API answers the requests of the public listener that are not for a WebSocket,
// and what other nodes ask for theirs. It has no goroutine of its own.
type API struct {
	// Static.
	opts      Options
	log       zerolog.Logger
	sessions  *session.Manager
	router    *router.Router
	bus       federation.Bus
	admission *admission.Admission
	mux       *http.ServeMux
	page      http.Handler
	methods   string // all that the endpoints know, for preflights

	waiting places
	bodies  bodyBudget
}

// endpoint is one of the API's.
type endpoint struct {
	// pattern is method and path (net/http.ServeMux).
	pattern string
	serve   func(*API, http.ResponseWriter, *http.Request)
	waits   waitsFor
	// name is the name in the path, nil for none.
	name *pathName
}

// waitsFor says whose answer a request may have to wait for. Those that wait are
// bounded by maxWaiting.
type waitsFor uint8

const (
	// otherNodes: none when the gateway is alone.
	otherNodes waitsFor = iota
	aDevice
	nobody
)

// endpoints is the table of the API, as docs/protocol.md lists it.
var endpoints = []endpoint{
	{"GET /v1/devices", (*API).getDevices, otherNodes, nil},
	{"GET /v1/devices/{id}", (*API).getDevice, otherNodes, &deviceName},
	{"GET /v1/devices/{id}/description", (*API).getDescription, otherNodes, &deviceName},
	{"GET /v1/devices/{id}/td", (*API).getThing, otherNodes, &deviceName},
	{"POST /v1/devices/{id}/commands", (*API).postCommand, aDevice, &deviceName},
	{"POST /v1/devices/{id}/actions/{type}", (*API).postAction, aDevice, &deviceName},
	{"GET /v1/schemas/description.json", (*API).getSchema, nobody, nil},
	{"GET /v1/sessions", (*API).getSessions, otherNodes, nil},
	{"GET /v1/sessions/{id}", (*API).getSession, otherNodes, nil},
	{"DELETE /v1/sessions/{id}", (*API).deleteSession, otherNodes, nil},
	{"POST /v1/broadcast", (*API).postBroadcast, otherNodes, nil},
	{"POST /v1/users/{user}/messages", (*API).postUserMessage, otherNodes, &userName},
}

// New returns an API.
func New(opts Options) *API {
	a := &API{
		opts: opts, log: opts.Logger, sessions: opts.Sessions, router: opts.Router, bus: opts.Bus, admission: opts.Admission,
		mux: http.NewServeMux(), page: web.Handler(),
		bodies: bodyBudget{limit: max(maxBodies, int64(opts.MaxMessage))},
	}
	for _, e := range endpoints {
		serve := func(w http.ResponseWriter, r *http.Request) { e.serve(a, w, r) }
		if e.waits == otherNodes {
			serve = answered(serve)
			if !a.alone() {
				serve = a.boundWaiting(serve)
			}
		}
		if e.name != nil {
			serve = e.name.checked(serve)
		}
		a.mux.HandleFunc(e.pattern, serve)
	}
	a.methods = methodsOf(endpoints)
	return a
}

// methodsOf lists the methods of endpoints.
func methodsOf(endpoints []endpoint) string {
	var methods []string
	for _, e := range endpoints {
		if method, _, _ := strings.Cut(e.pattern, " "); !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

// alone reports whether there are no other nodes and never will be.
func (a *API) alone() bool { return a.bus.Self() == 0 }

// ServeHTTP serves the API below /v1/, and the page.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		a.serveAPI(w, r)
		return
	}
	a.page.ServeHTTP(w, r)
}

// serveAPI serves a request with a front end's credential and from an allowed
// origin.
func (a *API) serveAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	allowedPage := a.admission.LetPageRead(w, r)
	if ref := a.admission.CheckDraining(); ref != nil {
		ref.Write(w)
		return
	}
	if ref := a.admission.CheckOrigin(r); ref != nil {
		a.admission.NoteRequestRefused(r, ref)
		ref.Write(w)
		return
	}
	if allowedPage && admission.IsPreflight(r) {
		admission.AnswerPreflight(w, a.methods)
		return
	}
	id, ref := a.admission.Authenticate(r, access.RoleFrontend, "", nil)
	if ref != nil {
		a.admission.NoteRequestRefused(r, ref)
		ref.Write(w)
		return
	}
	r = withIdentity(r, id)
	handler, pattern := a.mux.Handler(r)
	if pattern == "" {
		refuseUnknown(w, r, handler)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// refuseUnknown answers a request for no endpoint: either nothing is there, or
// another method is wanted. The handler that the mux has for it knows.
func refuseUnknown(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	var probe httpresponse.Buffer
	handler.ServeHTTP(&probe, r)
	if allow := probe.Header().Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		httpresponse.WriteError(w, http.StatusMethodNotAllowed, protocol.ErrBadMessage, "method "+admission.Clip(r.Method)+" is not known here; use "+allow)
		return
	}
	httpresponse.WriteError(w, http.StatusNotFound, protocol.ErrNotFound, "no such endpoint; docs/protocol.md lists them")
}

// answered has a request answered although its client has ended its own side of
// the connection, as one does that has no more to ask (RFC 9112 section 9.6):
// what waits for other nodes waits for askTime at most. What waits for a device
// may wait for minutes, and ends with the client's side.
func answered(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.WithContext(context.WithoutCancel(r.Context())))
	}
}

// boundWaiting bounds the requests that wait for an answer. A command takes its
// place in API.command, which knows whether the command is urgent.
func (a *API) boundWaiting(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if release := a.waiting.take(w, r, false); release != nil {
			defer release()
			serve(w, r)
		}
	}
}
