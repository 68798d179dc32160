package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
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
	missingNodes
}

func (a *API) describe(sess *session.Session) sessionStatus {
	return sessionStatus{
		Session: sess.ID().String(), Role: sess.Role().String(), Name: sess.Name(), Node: a.opts.Node,
		Remote: sess.Info().Remote, ConnectedAt: sess.ConnectedAt().UTC(), Health: sess.Health(),
	}
}

// maySee reports whether a session is shown to who makes a request: a device's
// to those that may observe the device, a front end's to those that may observe
// every device.
func (st *sessionStatus) maySee(id access.Identity) bool {
	if st.Role == session.RoleDevice.String() {
		return id.MayObserve(st.Name)
	}
	return id.Observe && admission.OfAllDevices(id.Permissions)
}

// mayEnd does the same for ending it, which takes the permission to command.
func (st *sessionStatus) mayEnd(id access.Identity) bool {
	if st.Role == session.RoleDevice.String() {
		return id.MayCommand(st.Name)
	}
	return id.Command && admission.OfAllDevices(id.Permissions)
}

func (a *API) getSessions(w http.ResponseWriter, r *http.Request) {
	list := sessionList{Sessions: []sessionStatus{}}
	add := func(st sessionStatus) {
		if st.maySee(identityOf(r)) {
			list.Sessions = append(list.Sessions, st)
		}
	}
	for _, sess := range a.sessions.Sessions() {
		add(a.describe(sess))
	}
	list.missingNodes = a.missing(a.remoteSessions(r.Context(), add))
	httpresponse.WriteJSON(w, http.StatusOK, list)
}

func (a *API) getSession(w http.ResponseWriter, r *http.Request) {
	if _, st, ok := a.findSession(w, r); ok {
		httpresponse.WriteJSON(w, http.StatusOK, st)
	}
}

func (a *API) deleteSession(w http.ResponseWriter, r *http.Request) {
	id, st, ok := a.findSession(w, r)
	if !ok {
		return
	}
	if !st.mayEnd(identityOf(r)) {
		httpresponse.WriteError(w, http.StatusForbidden, protocol.ErrNotAllowed, "the credential does not permit ending this session; it takes command, for its device or, for a front end's session, for all devices")
		return
	}
	if a.isLocal(id) {
		// One that has ended meanwhile is what was asked for.
		_ = a.sessions.Remove(id, protocol.CloseKicked, "by the HTTP API")
	} else if err := a.endRemoteSession(r.Context(), id); err != nil {
		writeFailure(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// findSession returns the session that a request names, wherever it is, if it
// may be seen or ended; it has listed when it returns false.
func (a *API) findSession(w http.ResponseWriter, r *http.Request) (uuid.UUID, sessionStatus, bool) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage, `field "id": not a session id; copy one from GET /v1/sessions`)
		return id, sessionStatus{}, false
	}
	var st sessionStatus
	found := false
	if !a.isLocal(id) {
		if st, found, err = a.remoteSession(r.Context(), id); err != nil {
			writeFailure(w, err)
			return id, st, false
		}
	} else if sess := a.sessions.Get(id); sess != nil {
		st, found = a.describe(sess), true
	}
	if who := identityOf(r); !found || !st.maySee(who) && !st.mayEnd(who) {
		httpresponse.WriteError(w, http.StatusNotFound, protocol.ErrNotFound, "no session with that id is connected")
		return id, st, false
	}
	return id, st, true
}
