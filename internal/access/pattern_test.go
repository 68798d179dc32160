package access

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

func TestPatternMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, device string
		want            bool
	}{
		{"press-1", "press-1", true},
		{"press-1", "press-10", false},
		{"press-1", "xpress-1", false},
		{"press-1", "Press-1", false},
		{"*", "", true},
		{"*", "anything", true},
		{"**", "anything", true},
		{"tensile-*", "tensile-", true},
		{"tensile-*", "tensile-3.left", true},
		{"tensile-*", "a-tensile-3", false},
		{"*-1", "press-1", true},
		{"*-1", "press-10", false},
		{"*-1", "-1", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false},
		{"a*b*c", "abcb", false},
		{"a*a", "a", false}, // one character cannot match both
		{"a*a", "aa", true},
		{"ab*ba", "aba", false},
		{"*ab*ab*", "ab", false},
		{"*ab*ab*", "abab", true},
		{"*aab", "aaab", true},
		{"*a*", "bbb", false},
		{".", "x", false},
		{"a.c", "abc", false},
		{"", "", true},
		{"", "x", false},
	} {
		if got := Pattern(c.pattern).Match(c.device); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.device, got, c.want)
		}
	}
}

func TestParsePattern(t *testing.T) {
	for _, s := range []string{"*", "a", "tensile-*", "**", "a.b_c:d-e", strings.Repeat("x", maxPatternLen)} {
		if p, err := parsePattern(s); err != nil || string(p) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, says := range map[string]string{
		"":                                       "0 characters",
		strings.Repeat("x", maxPatternLen+1):     "129 characters",
		"press-?":                                "character 7",
		"[ab]":                                   "character 1",
		"a b":                                    "character 2",
		"tensile-\u00fc":                         "character 9",
		"x" + tokenA + "~":                       "not allowed",
		"a/b":                                    "character 2",
		"{" + strings.Repeat("y", maxPatternLen): "characters",
	} {
		_, err := parsePattern(s)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q in it", s, err, says)
			continue
		}
		mustHide(t, err.Error())
	}
}

func TestPermissions(t *testing.T) {
	p := Permissions{Observe: true, Devices: []Pattern{"tensile-*", "press-1"}}
	for device, want := range map[string]bool{"tensile-9": true, "press-1": true, "press-2": false, "": false} {
		if p.MayObserve(device) != want || p.MayCommand(device) {
			t.Errorf("%q: observe %v, command %v", device, p.MayObserve(device), p.MayCommand(device))
		}
	}
	p.Observe, p.Command = false, true
	if p.MayObserve("press-1") || !p.MayCommand("press-1") {
		t.Error("command does not include observe, nor the other way round")
	}
	if zero := (Permissions{Observe: true, Command: true}); zero.MayObserve("x") || zero.MayCommand("x") {
		t.Error("no pattern is no device")
	}
	if n := testing.AllocsPerRun(100, func() { p.MayCommand("tensile-17"); p.MayObserve("x") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// matchByTable is the definition of a match as a table: whether the first i
// characters of the pattern match the first j characters of the device id.
func matchByTable(pattern, device string) bool {
	row := make([]bool, len(device)+1)
	row[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(device)+1)
		for j := range next {
			if pattern[i] == '*' {
				next[j] = row[j] || j > 0 && next[j-1]
			} else {
				next[j] = j > 0 && row[j-1] && device[j-1] == pattern[i]
			}
		}
		row = next
	}
	return row[len(device)]
}

func FuzzPatternMatch(f *testing.F) {
	f.Add("a*b*c", "aXbYc")
	f.Add("*ab*ab*", "abab")
	f.Add(strings.Repeat("a*", 60)+"b", strings.Repeat("a", 128))
	f.Fuzz(func(t *testing.T, pattern, device string) {
		if len(pattern) > maxPatternLen || len(device) > protocol.MaxNameLen {
			return
		}
		if got, want := Pattern(pattern).Match(device), matchByTable(pattern, device); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, device, got, want)
		}
	})
}

// TestPatternMatchAll compares Match with the definition for every short pattern
// and device id of a small alphabet.
func TestPatternMatchAll(t *testing.T) {
	words := func(alphabet string, most int) []string {
		all := []string{""}
		for first, length := 0, 0; length < most; length++ {
			last := len(all)
			for _, w := range all[first:last] {
				for _, c := range alphabet {
					all = append(all, w+string(c))
				}
			}
			first = last
		}
		return all
	}
	devices := words("ab", 6)
	for _, pattern := range words("ab*", 6) {
		for _, device := range devices {
			if got, want := Pattern(pattern).Match(device), matchByTable(pattern, device); got != want {
				t.Fatalf("%q matches %q: %v, want %v", pattern, device, got, want)
			}
		}
	}
}
