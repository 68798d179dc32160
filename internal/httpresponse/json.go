package httpresponse

import (
	"encoding/json"
	"net/http"

	"github.com/labgate/labgate/protocol"
)

// WriteError writes an error as the protocol has it: {"error":{"code","message"}}.
func WriteError(w http.ResponseWriter, status int, code protocol.ErrorCode, message string) {
	WriteJSON(w, status, map[string]protocol.Error{"error": {Code: code, Message: message}})
}

// WriteJSON writes a value as JSON and a line break.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"unavailable","message":"the answer could not be encoded"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
