package protocol

import "encoding/json"

// Refusal reports whether the payload of an answer says that the device refused
// the command or failed to carry it out, and returns the device's reason. An
// answer is a success unless its payload is an object with "ok": false; "error" is
// the reason, a text for people.
func Refusal(payload []byte) (reason string, refused bool) {
	// A map, because a struct's fields match names in any letter case.
	var answer map[string]json.RawMessage
	if json.Unmarshal(payload, &answer) != nil || string(answer["ok"]) != "false" {
		return "", false
	}
	if json.Unmarshal(answer["error"], &reason) != nil || reason == "" {
		reason = "the device gave no reason"
	}
	return reason, true
}
