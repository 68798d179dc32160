package protocol

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRenewal(t *testing.T) {
	for _, c := range []struct{ payload, token, says string }{
		{`{"token":"abc"}`, "abc", ""},
		{` {"more":1,"token":"` + strings.Repeat("x", MaxRenewalToken) + `"} `, strings.Repeat("x", MaxRenewalToken), ""},
		{`{"token":"` + strings.Repeat("x", MaxRenewalToken+1) + `"}`, "", "4097 bytes, 1 to 4096 allowed"},
		{`{"token":""}`, "", "0 bytes"},
		{`{}`, "", "0 bytes"},
		{``, "", "send {"},
		{`"sesame"`, "", "send {"},
		{`["sesame"]`, "", "send {"},
		{`{"token":{"sesame":1}}`, "", "send {"},
		{`{"token":5}`, "", "send {"},
		{`null`, "", "send {"},
	} {
		r, err := ParseRenewal([]byte(c.payload))
		if c.says == "" {
			if err != nil || r.Token != c.token {
				t.Errorf("%.40s: %v", c.payload, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%.40s: %v, want an error with %q", c.payload, err, c.says)
		}
	}
}

// TestExpiryOnTheWire: a credential without an end has no number, one that
// ends now has 0.
func TestExpiryOnTheWire(t *testing.T) {
	now := int64(0)
	for want, e := range map[string]Expiry{`{}`: {}, `{"expires_in_ms":0}`: {ExpiresInMS: &now}} {
		if got, err := json.Marshal(e); err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}
