package eventloop

import (
	"strings"
	"testing"
)

// TestEndsInClose: the answer to our close frame is found behind what was on
// its way before, and nothing else is taken for it.
func TestEndsInClose(t *testing.T) {
	garbage := "\x81\x85 garbage \x88"
	for name, c := range map[string]struct {
		data string
		want bool
	}{
		"nothing":               {"", false},
		"short":                 {"\x88\x80\x00\x00\x00", false},
		"empty close":           {string(masked(0x88, "")), true},
		"with a code":           {string(masked(0x88, "\x03\xea")), true},
		"with a reason":         {string(masked(0x88, "\x0f\xa0 because")), true},
		"with the longest":      {string(masked(0x88, "\x03\xe8"+strings.Repeat("r", 123))), true},
		"behind garbage":        {garbage + string(masked(0x88, "\x03\xea")), true},
		"empty, behind garbage": {garbage + string(masked(0x88, "")), true},
		"something behind it":   {string(masked(0x88, "\x03\xea")) + "x", false},
		"one byte":              {string(masked(0x88, "x")), false},
		"no code at all":        {string(masked(0x88, "\x00\x01")), false},
		"not masked":            {"\x88\x02\x03\xea1234", false},
		"a ping":                {string(masked(0x89, "\x03\xea")), false},
		"not the last fragment": {string(masked(0x08, "\x03\xea")), false},
	} {
		if got := endsInClose([]byte(c.data)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
