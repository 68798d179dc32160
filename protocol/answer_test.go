package protocol

import "testing"

func TestRefusal(t *testing.T) {
	const none = "the device gave no reason"
	for _, c := range []struct {
		payload, reason string
		refused         bool
	}{
		{``, "", false},
		{`null`, "", false},
		{`{}`, "", false},
		{`{"ok":true}`, "", false},
		{`{"ok":true,"error":"ignored"}`, "", false},
		{`{"error":"without ok"}`, "", false},
		{`{"ok":null,"error":"x"}`, "", false},
		{`{"ok":"false","error":"x"}`, "", false},
		{`{"OK":false,"error":"x"}`, "", false},
		{`{"ok":0,"error":"x"}`, "", false},
		{`[{"ok":false}]`, "", false},
		{`"no"`, "", false},
		{`{"ok":false,"error":"door is open"}`, "door is open", true},
		{` {"error":"x\u00b0","ok":false,"state":"idle"}`, "x°", true},
		{`{"ok":false}`, none, true},
		{`{"ok":false,"error":""}`, none, true},
		{`{"ok":false,"error":{"code":7}}`, none, true},
		{`{"ok":false,"error":null}`, none, true},
	} {
		if reason, refused := Refusal([]byte(c.payload)); reason != c.reason || refused != c.refused {
			t.Errorf("%s: %q, %v; want %q, %v", c.payload, reason, refused, c.reason, c.refused)
		}
	}
}
