package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// postAction sends a command whose payload is the whole body, and answers with the
// payload of the device's answer alone: what clients of the Web of Things expect.
func (a *API) postAction(w http.ResponseWriter, r *http.Request) {
	if !a.mayCommand(w, r) {
		return
	}
	msg, ok := a.readAction(w, r)
	if !ok {
		return
	}
	text, ok := a.command(w, r, msg)
	if !ok {
		return
	}
	var answer protocol.Message
	if err := json.Unmarshal(text, &answer); err != nil {
		writeFailure(w, err)
		return
	}
	if len(answer.Payload) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, refused := protocol.Refusal(answer.Payload); refused {
		w.WriteHeader(http.StatusConflict)
	}
	_, _ = w.Write(answer.Payload)
}

// readAction reads the body and the query of an action; it has answered when it
// returns false. An empty body is a command without a payload.
func (a *API) readAction(w http.ResponseWriter, r *http.Request) (msg protocol.Message, ok bool) {
	body, ok := a.readJSON(w, r, true)
	if !ok {
		return msg, false
	}
	msg = protocol.Message{Type: r.PathValue("type"), Payload: body}
	err := readActionQuery(r, &msg)
	if err == nil {
		_, err = msg.Append(nil) // checks the type and the payload
	}
	switch {
	case err != nil:
		httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage, err.Error())
	case strings.HasPrefix(msg.Type, protocol.GatewayPrefix):
		httpresponse.WriteError(w, http.StatusForbidden, protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own`)
	default:
		return msg, true
	}
	return msg, false
}

// readActionQuery reads the query parameters urgent and timeout_ms, as the Thing
// Description writes them.
func readActionQuery(r *http.Request, msg *protocol.Message) error {
	for name, values := range r.URL.Query() {
		value := values[0]
		switch name {
		case "urgent":
			urgent, err := strconv.ParseBool(value)
			if err != nil {
				return &protocol.FieldError{Field: "urgent", Problem: "in the query is neither true nor false"}
			}
			msg.Urgent = urgent
		case "timeout_ms":
			ms, err := strconv.Atoi(value)
			if err != nil || ms < 1 || ms > protocol.MaxTimeoutMS {
				return &protocol.FieldError{Field: "timeout_ms", Problem: "in the query is no number of milliseconds from 1 to " + strconv.Itoa(protocol.MaxTimeoutMS)}
			}
			msg.TimeoutMS = ms
		default:
			return errors.New("the query may only have urgent and timeout_ms")
		}
	}
	return nil
}
