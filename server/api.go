package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/web"
)

// publicHandler routes the public listener: WebSockets, the HTTP API, the page.
func (s *Server) publicHandler() http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /v1/devices", s.asksOthers(s.getDevices))
	api.HandleFunc("GET /v1/devices/{id}", s.asksOthers(s.getDevice))
	api.HandleFunc("POST /v1/devices/{id}/commands", s.waits(s.postCommand))
	api.HandleFunc("GET /v1/sessions", s.asksOthers(s.getSessions))
	api.HandleFunc("GET /v1/sessions/{id}", s.asksOthers(s.getSession))
	api.HandleFunc("DELETE /v1/sessions/{id}", s.asksOthers(s.deleteSession))
	api.HandleFunc("POST /v1/broadcast", s.asksOthers(s.postBroadcast))
	api.HandleFunc("POST /v1/users/{user}/messages", s.asksOthers(s.postUser))

	page := web.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.clientAddress(r)
		s.requests.Add(1)
		defer s.requests.Add(-1)
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/ws/"):
			if !s.survive(func() { s.serveWebSocket(w, r) }) {
				abandon(w)
			}
		case strings.HasPrefix(path, "/v1/"):
			s.respond(w, r, func(w http.ResponseWriter, r *http.Request) { s.serveAPI(api, w, r) })
		default:
			s.respond(w, r, page.ServeHTTP)
		}
	})
}

// serveAPI admits a request to the HTTP API, with a front end's token and from
// an allowed origin.
func (s *Server) serveAPI(api *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if s.draining.Load() {
		w.Header().Set("Retry-After", s.retryAfter())
		writeError(w, http.StatusServiceUnavailable, protocol.ErrUnavailable, "the gateway is shutting down; try again shortly")
		return
	}
	if ref := s.checkOrigin(r); ref != nil {
		writeError(w, ref.status, ref.code, ref.message)
		return
	}
	id, ref := s.admit(r, access.RoleFrontend, "", nil)
	if ref != nil {
		s.log.Debug().Str("remote", r.RemoteAddr).Str("path", clip(r.URL.Path)).Str("credential", ref.credential).Str("reason", ref.message).Msg("request refused")
		w.Header().Set("WWW-Authenticate", `Bearer realm="labgate"`)
		writeError(w, ref.status, ref.code, ref.message)
		return
	}
	r = withIdentity(r, id)
	handler, pattern := api.Handler(r)
	if pattern == "" {
		// Either nothing is there, or it wants another method: the mux knows.
		var probe answer
		handler.ServeHTTP(&probe, r)
		if allow := probe.Header().Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			writeError(w, http.StatusMethodNotAllowed, protocol.ErrBadMessage, "method "+clip(r.Method)+" is not known here; use "+allow)
			return
		}
		writeError(w, http.StatusNotFound, protocol.ErrNotFound, "no such endpoint; docs/protocol.md lists them")
		return
	}
	api.ServeHTTP(w, r)
}

// waits bounds the requests that wait for an answer of somebody else.
func (s *Server) waits(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.waiting <- struct{}{}:
			defer func() { <-s.waiting }()
			handle(w, r)
		default:
			writeError(w, http.StatusServiceUnavailable, protocol.ErrOverloaded, "too many requests wait for an answer; wait for some of them")
		}
	}
}

// asksOthers does so for a request that needs other nodes, if there may be any.
func (s *Server) asksOthers(handle http.HandlerFunc) http.HandlerFunc {
	if s.opts.Bus == nil {
		return handle
	}
	return s.waits(handle)
}

// deviceList answers GET /v1/devices.
type deviceList struct {
	Devices []router.DeviceStatus `json:"devices"`
	others
}

func (s *Server) getDevices(w http.ResponseWriter, r *http.Request) {
	id := identityOf(r)
	all, silent := s.router.Devices(r.Context())
	devices := slices.DeleteFunc(all, func(d router.DeviceStatus) bool { return !id.MayObserve(d.DeviceID) })
	writeJSON(w, http.StatusOK, deviceList{devices, s.othersWith(silent)})
}

// getDevice answers for a device that may not be observed as for one that is
// not there.
func (s *Server) getDevice(w http.ResponseWriter, r *http.Request) {
	d, ok := s.router.Device(r.Context(), r.PathValue("id"))
	if !ok || !identityOf(r).MayObserve(d.DeviceID) {
		writeError(w, http.StatusNotFound, protocol.ErrDeviceOffline, "device "+clip(r.PathValue("id"))+" is not connected")
		return
	}
	writeJSON(w, http.StatusOK, d)
}

func (s *Server) postCommand(w http.ResponseWriter, r *http.Request) {
	if device := r.PathValue("id"); !identityOf(r).MayCommand(device) {
		writeError(w, http.StatusForbidden, protocol.ErrNotAllowed, "the credential does not permit commands to device "+clip(device)+"; nothing was delivered")
		return
	}
	msg, ok := s.readMessage(w, r)
	if !ok {
		return
	}
	answer, err := s.router.Command(r.Context(), r.PathValue("id"), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

func (s *Server) postBroadcast(w http.ResponseWriter, r *http.Request) {
	msg, ok := s.readMessage(w, r)
	if !ok {
		return
	}
	delivery, err := s.router.Broadcast(r.Context(), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, delivery)
}

func (s *Server) postUser(w http.ResponseWriter, r *http.Request) {
	msg, ok := s.readMessage(w, r)
	if !ok {
		return
	}
	delivery, err := s.router.SendUser(r.Context(), r.PathValue("user"), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, delivery)
}

// readMessage reads the body of a request; it has answered when it returns
// false. The content type must be JSON, which a form of another site cannot
// send.
func (s *Server) readMessage(w http.ResponseWriter, r *http.Request) (protocol.Message, bool) {
	if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(ct), "application/json") {
		writeError(w, http.StatusUnsupportedMediaType, protocol.ErrBadMessage, "header Content-Type: must be application/json")
		return protocol.Message{}, false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(s.opts.MaxMessage)+1))
	if err != nil {
		writeError(w, http.StatusBadRequest, protocol.ErrBadMessage, "the body could not be read")
		return protocol.Message{}, false
	}
	if len(body) > s.opts.MaxMessage {
		writeError(w, http.StatusRequestEntityTooLarge, protocol.ErrTooLarge, "the body is larger than --max-message; send less")
		return protocol.Message{}, false
	}
	// The envelope's own scanner holds the body to the limits of a message.
	var e protocol.Envelope
	if err := e.Parse(body); err != nil {
		writeError(w, http.StatusBadRequest, protocol.ErrBadMessage, err.Error())
		return protocol.Message{}, false
	}
	msg := e.Message()
	if strings.HasPrefix(msg.Type, protocol.GatewayPrefix) {
		writeError(w, http.StatusForbidden, protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own`)
		return protocol.Message{}, false
	}
	return protocol.Message{Type: msg.Type, Payload: msg.Payload, Urgent: msg.Urgent, TimeoutMS: msg.TimeoutMS, TS: msg.TS}, true
}

// writeFailure answers with what the router said.
func writeFailure(w http.ResponseWriter, err error) {
	var known *protocol.Error
	var field *protocol.FieldError
	switch {
	case errors.As(err, &known):
		writeError(w, statusOf(known.Code), known.Code, known.Message)
	case errors.As(err, &field):
		writeError(w, http.StatusBadRequest, protocol.ErrBadMessage, field.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		writeError(w, http.StatusServiceUnavailable, protocol.ErrUnavailable, "the request ended before the answer came")
	default:
		writeError(w, http.StatusInternalServerError, protocol.ErrUnavailable, err.Error())
	}
}

func writeError(w http.ResponseWriter, status int, code protocol.ErrorCode, message string) {
	writeJSON(w, status, map[string]protocol.ErrorPayload{"error": {Code: code, Message: message}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"unavailable","message":"the answer could not be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
