package server

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// sessionStatus is a session as the HTTP API shows it, and as one node tells
// another of it.
type sessionStatus struct {
	Session     string         `json:"session"`
	Role        string         `json:"role"`
	Name        string         `json:"name,omitempty"`
	Node        string         `json:"node"`
	Remote      string         `json:"remote"`
	ConnectedAt time.Time      `json:"connected_at"`
	Health      session.Health `json:"health"`
}

// sessionList answers GET /v1/sessions.
type sessionList struct {
	Sessions []sessionStatus `json:"sessions"`
	others
}

// others says of which other nodes an answer may lack something.
type others struct {
	// Silent names the nodes that did not answer in time.
	Silent []string `json:"silent_nodes,omitempty"`
	// Unreachable says that this node is by itself.
	Unreachable bool `json:"others_unreachable,omitempty"`
}

func (s *Server) statusOf(sess *session.Session) sessionStatus {
	return sessionStatus{
		Session: sess.ID().String(), Role: sess.Role().String(), Name: sess.Name(), Node: s.opts.Node,
		Remote: sess.Info().Remote, ConnectedAt: sess.Since().UTC(), Health: sess.Health(),
	}
}

// maySee reports whether a session is shown to who makes a request: a device's
// to those that may observe the device, a front end's to those that may observe
// every device.
func (st *sessionStatus) maySee(id access.Identity) bool {
	if st.Role == session.RoleDevice.String() {
		return id.MayObserve(st.Name)
	}
	return id.Observe && ofAllDevices(id.Permissions)
}

// mayEnd does the same for ending it, which takes the permission to command.
func (st *sessionStatus) mayEnd(id access.Identity) bool {
	if st.Role == session.RoleDevice.String() {
		return id.MayCommand(st.Name)
	}
	return id.Command && ofAllDevices(id.Permissions)
}

func (s *Server) getSessions(w http.ResponseWriter, r *http.Request) {
	answer := sessionList{Sessions: []sessionStatus{}}
	add := func(st sessionStatus) {
		if st.maySee(identityOf(r)) {
			answer.Sessions = append(answer.Sessions, st)
		}
	}
	for _, sess := range s.manager.Sessions() {
		add(s.statusOf(sess))
	}
	if s.opts.Bus != nil {
		answer.others = s.othersWith(s.remoteSessions(r.Context(), add))
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	if _, st, ok := s.findSession(w, r); ok {
		writeJSON(w, http.StatusOK, st)
	}
}

func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request) {
	id, st, ok := s.findSession(w, r)
	if !ok {
		return
	}
	if !st.mayEnd(identityOf(r)) {
		writeError(w, http.StatusForbidden, protocol.ErrNotAllowed, "the credential does not permit ending this session; it takes command, for its device or, for a front end's session, for all devices")
		return
	}
	if s.isLocal(id) {
		// One that has ended meanwhile is what was asked for.
		_ = s.manager.Remove(id, protocol.CloseKicked, "by the HTTP API")
	} else if err := s.endRemoteSession(r.Context(), id); err != nil {
		writeFailure(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// findSession returns the session that a request names, wherever it is, if it
// may be seen or ended; it has answered when it returns false.
func (s *Server) findSession(w http.ResponseWriter, r *http.Request) (uuid.UUID, sessionStatus, bool) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		writeError(w, http.StatusBadRequest, protocol.ErrBadMessage, `field "id": not a session id; copy one from GET /v1/sessions`)
		return id, sessionStatus{}, false
	}
	var st sessionStatus
	found := false
	if !s.isLocal(id) {
		if st, found, err = s.remoteSession(r.Context(), id); err != nil {
			writeFailure(w, err)
			return id, st, false
		}
	} else if sess := s.manager.Get(id); sess != nil {
		st, found = s.statusOf(sess), true
	}
	if who := identityOf(r); !found || !st.maySee(who) && !st.mayEnd(who) {
		writeError(w, http.StatusNotFound, protocol.ErrNotFound, "no session with that id is connected")
		return id, st, false
	}
	return id, st, true
}
