package admission

import (
	"net/http"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/session"
)

// NoteNoSession counts an accepted handshake that got no session, by its reason
// in the metrics, and tells of it. status is that of the HTTP response, 101 when
// a close frame followed it.
func (a *Admission) NoteNoSession(info *session.Info, status int, counted, reason string) {
	a.counters.RefusedRequests.Add(counted)
	a.events.HandshakeRefused(events.HandshakeRefused{
		Remote: info.Remote, Path: "/ws/" + info.Role.String() + "/" + info.Name, Status: status, Credential: info.Credential, Reason: reason,
	})
}

// NoteRequestRefused tells of a refused request without a WebSocket.
func (a *Admission) NoteRequestRefused(r *http.Request, ref *Refusal) {
	a.events.RequestRefused(events.RequestRefused{
		Remote: r.RemoteAddr, Method: Clip(r.Method), Path: Clip(r.URL.Path), Status: ref.Status, Credential: ref.Credential, Reason: ref.Message,
	})
}

// Reload reads the files of credentials again, changed or not, and tells of each.
// It returns how many files were read, and how many of them cannot be used.
// Without a watching goroutine Reload does nothing.
func (a *Admission) Reload() (read, failed int) {
	for _, f := range a.authenticator.Reload() {
		read++
		switch {
		case f.Err != nil:
			failed++ // told by the callback of Watch, as a change is
		case !f.Changed:
			a.tellRead(f)
		}
	}
	return read, failed
}

func (a *Admission) tellRead(f access.FileReport) {
	a.events.FileRead(events.FileRead{Option: f.Option, Path: f.Path, Changed: f.Changed, Credentials: f.Credentials})
}
