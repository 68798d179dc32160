package main

import (
	"strings"
	"testing"
)

// TestSendHints: the hint for a payload that is not JSON is right for this
// payload.
func TestSendHints(t *testing.T) {
	for payload, says := range map[string]string{
		`{speed:1}`:                        `double quotes are missing, perhaps because the shell removed them; write '{"speed":1}', with the single quotes`,
		`{speed_mm_min: 50, mode: slow}`:   `write '{"speed_mm_min": 50, "mode": "slow"}'`,
		`{on: true, off: null}`:            `write '{"on": true, "off": null}'`,
		`[a, b]`:                           `write '["a", "b"]'`,
		`text`:                             `write '"text"'`,
		`{`:                                "unexpected end of JSON input",
		`{"speed": 1,}`:                    "invalid character '}'",
		`{"speed": slow}`:                  "invalid character 's'",
		`{'speed': 1}`:                     `invalid character '\''`,
		`{"speed_mm_min": 50} {"more": 1}`: "after top-level value",
	} {
		err := checkPayload(payload)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "is not JSON") {
			t.Errorf("%s: %v, want %q", payload, err, says)
		}
	}
	for _, payload := range []string{`{}`, `1`, `"text"`, `null`, ` {"a": [1, 2]} `} {
		if err := checkPayload(payload); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
}
