package protocol

import "encoding/json"

// Refusal reports whether the payload of an answer says that the device refused
// the command or failed to carry it out, and returns the device's reason. An
// answer is a success unless its payload is an object with "ok": false; "error" is
// the reason, a text for people.
func Refusal(payload []byte) (reason string, refused bool) {
	var answer struct {
		OK    *bool           `json:"ok"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(payload, &answer) != nil || answer.OK == nil || *answer.OK {
		return "", false
	}
	if len(answer.Error) == 0 || json.Unmarshal(answer.Error, &reason) != nil || reason == "" {
		reason = "the device gave no reason"
	}
	return reason, true
}
