package server

import (
	"errors"
	"net"
	"net/http"

	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// connections is how the event loop reaches what is above it: admission, the
// HTTP API, and the sessions.
type connections struct{ *Server }

var (
	_ eventloop.Admission = connections{}
	_ eventloop.Handler   = connections{}
)

// ConnectionAccepted implements eventloop.Admission.
func (c connections) ConnectionAccepted(remote net.Addr) *httpresponse.Buffer {
	ref := c.admission.CheckConnection(remote)
	if ref == nil {
		return nil
	}
	response := new(httpresponse.Buffer)
	ref.Write(response)
	return response
}

// ConnectionEnded implements eventloop.Admission.
func (c connections) ConnectionEnded(remote net.Addr) { c.admission.ConnectionEnded(remote) }

// RequestRefused implements eventloop.Admission.
func (c connections) RequestRefused(code protocol.ErrorCode) {
	c.admission.Counters().RefusedRequests.Add(string(code))
}

// ServeHTTP implements eventloop.Handler.
func (c connections) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.admission.ClientAddress(r)
	c.api.ServeHTTP(w, r)
}

// Handshake implements eventloop.Handler.
func (c connections) Handshake(w http.ResponseWriter, r *http.Request) *eventloop.Upgrade {
	c.admission.ClientAddress(r)
	if c.sawHandshake != nil {
		c.sawHandshake(r)
	}
	hs, ref := c.admission.CheckHandshake(r)
	if ref != nil {
		c.admission.NoteRefused(r, ref)
		ref.Write(w)
		return nil
	}
	up := &eventloop.Upgrade{Subprotocol: hs.Subprotocol, MaxMessage: c.opts.MaxMessage, Sessions: &handshake{server: c.Server, info: hs.Info}}
	if hs.Info.Role == session.RoleEcho {
		up.MaxMessage, up.HoldBack = c.opts.maxEcho, tooFarAhead
	}
	return up
}

// handshake makes the session of one accepted handshake.
type handshake struct {
	server *Server
	info   session.Info
	// settled says that admission has the session's place back, or that the
	// session will give it back.
	settled bool
}

// Connected implements eventloop.SessionMaker.
func (h *handshake) Connected(t session.Transport, blocking bool) (*session.Session, protocol.CloseCode) {
	s := h.server
	h.info.Blocking = blocking
	if s.sawTransport != nil {
		s.sawTransport(t)
	}
	sess, err := h.addSession(t)
	if err == nil {
		return sess, 0
	}
	h.giveBack()
	code := protocol.CloseInternal
	switch {
	case errors.Is(err, session.ErrDuplicateDevice):
		code = protocol.CloseDuplicateDevice
	case errors.Is(err, session.ErrStopped):
		code = protocol.CloseGoingAway
	default:
		s.opts.Logger.Error().Err(err).Msg("session could not be added")
	}
	s.admission.NoteNoSession(&h.info, http.StatusSwitchingProtocols, code.Name(), code.Name())
	return nil, code
}

// addSession adds the session, and watches over its credential from then on.
func (h *handshake) addSession(t session.Transport) (*session.Session, error) {
	s := h.server
	// Two devices of one name that come at the same moment at two nodes may both
	// pass; then the newer stays.
	if s.opts.RefuseDuplicate && h.info.Role == session.RoleDevice && s.router.HeldElsewhere(h.info.Name) {
		return nil, session.ErrDuplicateDevice
	}
	sess, err := s.manager.Add(h.info, t)
	if err != nil {
		return nil, err
	}
	h.settled = true
	s.admission.SessionAdded(sess)
	return sess, nil
}

// Failed implements eventloop.SessionMaker.
func (h *handshake) Failed(err error) {
	h.giveBack()
	if err != nil {
		h.server.admission.NoteNoSession(&h.info, http.StatusBadRequest, "upgrade_failed", err.Error())
	}
}

func (h *handshake) giveBack() {
	if !h.settled {
		h.settled = true
		h.server.admission.SessionEnded(&h.info)
	}
}
