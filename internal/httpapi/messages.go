package httpapi

import (
	"net/http"
	"strings"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

func (a *API) postCommand(w http.ResponseWriter, r *http.Request) {
	if !a.mayCommand(w, r) {
		return
	}
	msg, ok := a.readMessage(w, r)
	if !ok {
		return
	}
	answer, ok := a.command(w, r, msg)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// command sends a command to the device that the path names, and returns the
// device's answer; it has answered the request when it returns false.
func (a *API) command(w http.ResponseWriter, r *http.Request, msg protocol.Message) (answer []byte, ok bool) {
	release := a.waiting.take(w, r, msg.Urgent)
	if release == nil {
		return nil, false
	}
	defer release()
	answer, err := a.router.Command(withAsker(r), r.PathValue("id"), msg)
	if err != nil {
		writeFailure(w, err)
		return nil, false
	}
	return answer, true
}

// mayCommand reports whether a request may command the device that its path names;
// it has answered when it returns false.
func (a *API) mayCommand(w http.ResponseWriter, r *http.Request) bool {
	device := r.PathValue("id")
	if identityOf(r).MayCommand(device) {
		return true
	}
	ref := &admission.Refusal{
		Status: http.StatusForbidden, Code: protocol.ErrNotAllowed, Credential: identityOf(r).Source,
		Message: "the credential does not permit commands to device " + admission.Clip(device) + "; nothing was delivered",
	}
	a.admission.NoteRequestRefused(r, ref)
	ref.Write(w)
	return false
}

func (a *API) postBroadcast(w http.ResponseWriter, r *http.Request) {
	msg, ok := a.readMessage(w, r)
	if !ok {
		return
	}
	delivery, err := a.router.Broadcast(r.Context(), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	httpresponse.WriteJSON(w, http.StatusOK, delivery)
}

func (a *API) postUserMessage(w http.ResponseWriter, r *http.Request) {
	msg, ok := a.readMessage(w, r)
	if !ok {
		return
	}
	delivery, err := a.router.SendUser(r.Context(), r.PathValue("user"), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	httpresponse.WriteJSON(w, http.StatusOK, delivery)
}

// readJSON reads the body of a request; it has answered when it returns false. The
// content type must be JSON, which a form of another site cannot send. When the body
// may be empty, a request without a body needs no content type.
func (a *API) readJSON(w http.ResponseWriter, r *http.Request, mayBeEmpty bool) ([]byte, bool) {
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	none := mayBeEmpty && r.ContentLength == 0 && r.Header.Get("Content-Type") == ""
	if !none && !strings.EqualFold(strings.TrimSpace(ct), "application/json") {
		httpresponse.WriteError(w, http.StatusUnsupportedMediaType, protocol.ErrBadMessage, "header Content-Type: must be application/json")
		return nil, false
	}
	return a.readBody(w, r)
}

// readMessage reads the message in the body of a request; it has answered when it
// returns false.
func (a *API) readMessage(w http.ResponseWriter, r *http.Request) (protocol.Message, bool) {
	body, ok := a.readJSON(w, r, false)
	if !ok {
		return protocol.Message{}, false
	}
	// The envelope's own scanner holds the body to the limits of a message.
	var e protocol.Envelope
	if err := e.Parse(body); err != nil {
		httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage, err.Error())
		return protocol.Message{}, false
	}
	msg := e.Message()
	if strings.HasPrefix(msg.Type, protocol.GatewayPrefix) {
		httpresponse.WriteError(w, http.StatusForbidden, protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own`)
		return protocol.Message{}, false
	}
	return protocol.Message{Type: msg.Type, Payload: msg.Payload, Urgent: msg.Urgent, TimeoutMS: msg.TimeoutMS, TS: msg.TS}, true
}
