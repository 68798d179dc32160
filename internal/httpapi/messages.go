package httpapi

import (
	"net/http"
	"strings"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

func (a *API) postCommand(w http.ResponseWriter, r *http.Request) {
	if device := r.PathValue("id"); !identityOf(r).MayCommand(device) {
		ref := &admission.Refusal{
			Status: http.StatusForbidden, Code: protocol.ErrNotAllowed, Credential: identityOf(r).Source,
			Message: "the credential does not permit commands to device " + admission.Clip(device) + "; nothing was delivered",
		}
		a.admission.NoteRequestRefused(r, ref)
		ref.Write(w)
		return
	}
	msg, ok := a.readMessage(w, r)
	if !ok {
		return
	}
	release := a.waiting.take(w, r, msg.Urgent)
	if release == nil {
		return
	}
	defer release()
	answer, err := a.router.Command(withAsker(r), r.PathValue("id"), msg)
	if err != nil {
		writeFailure(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
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

// readMessage reads the body of a request; it has answered when it returns
// false. The content type must be JSON, which a form of another site cannot
// send.
func (a *API) readMessage(w http.ResponseWriter, r *http.Request) (protocol.Message, bool) {
	if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(ct), "application/json") {
		httpresponse.WriteError(w, http.StatusUnsupportedMediaType, protocol.ErrBadMessage, "header Content-Type: must be application/json")
		return protocol.Message{}, false
	}
	body, ok := a.readBody(w, r)
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
