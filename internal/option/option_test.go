package option

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// word is a named string, as modes are.
type word string

type inner struct {
	Wait  time.Duration `option:"wait" default:"1m" min:"1s" max:"1h"`
	Pause time.Duration `option:"pause" default:"1ms" min:"0s" max:"1s"`
	Rate  float64       `option:"rate" default:"5000" min:"0" max:"1000000" zero:"no limit"`
}

type named struct {
	Own *float64 `option:"own" unset:"--rate" min:"0" max:"10"`
}

type sample struct {
	inner
	Named named    `options:""`
	Count int      `option:"count" default:"7" min:"1" max:"100"`
	Auto  int      `option:"auto" unset:"the machine's" min:"10" max:"20"`
	Open  int      `option:"open" default:"3" min:"2"`
	Seed  uint64   `option:"seed" default:"1"`
	Mode  word     `option:"mode" default:"fast" enum:"fast,slow,off"`
	Refus bool     `option:"twice" default:"replace" enum:"replace,refuse"`
	On    bool     `option:"on"`
	Name  string   `option:"name"`
	File  string   `option:"file" type:"path"`
	List  []string `option:"list"`
	Kinds []string `option:"kinds" enum:"a,b"`
	Thing string   `argument:"THING" required:"true"`

	Other  int // no option
	hidden struct{ X int }
}

func find(t *testing.T, s *sample, name string) *Option {
	t.Helper()
	for _, o := range Of(s) {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("no option %q", name)
	return nil
}

func TestOptionsInTheOrderOfTheFields(t *testing.T) {
	var s sample
	s.hidden.X = 1
	var names []string
	for _, o := range Of(&s) {
		names = append(names, o.Flag())
	}
	want := "--wait --pause --rate --own --count --auto --open --seed --mode --twice --on --name --file --list --kinds THING"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFill: a zero field takes its default, unless zero is a value of the option.
func TestFill(t *testing.T) {
	var s sample
	Fill(&s)
	want := sample{inner: inner{Wait: time.Minute}, Count: 7, Open: 3, Seed: 1, Mode: "fast"}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	s.Count, s.Mode = 9, "slow"
	Fill(&s)
	if s.Count != 9 || s.Mode != "slow" {
		t.Errorf("%+v has lost what was set", s)
	}
	if err := Check(&s); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

// TestSetDefault: the command line takes the default also where zero is a value.
func TestSetDefault(t *testing.T) {
	var s sample
	for _, o := range Of(&s) {
		o.SetDefault()
	}
	if s.Pause != time.Millisecond || s.Rate != 5000 || s.Auto != 0 || s.Named.Own != nil {
		t.Errorf("%+v", s)
	}
}

func TestSet(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		texts []string
		got   func(s *sample) any
		want  any
	}{
		{"wait", []string{"90s"}, func(s *sample) any { return s.Wait }, 90 * time.Second},
		{"wait", []string{"5s", "7s"}, func(s *sample) any { return s.Wait }, 7 * time.Second},
		{"rate", []string{"0.5"}, func(s *sample) any { return s.Rate }, 0.5},
		{"own", []string{"0"}, func(s *sample) any { return *s.Named.Own }, 0.0},
		{"count", []string{"100"}, func(s *sample) any { return s.Count }, 100},
		{"open", []string{"9007199254740993"}, func(s *sample) any { return s.Open }, 9007199254740993},
		{"seed", []string{"18446744073709551615"}, func(s *sample) any { return s.Seed }, uint64(math.MaxUint64)},
		{"mode", []string{"off"}, func(s *sample) any { return s.Mode }, word("off")},
		{"twice", []string{"refuse"}, func(s *sample) any { return s.Refus }, true},
		{"twice", []string{"replace"}, func(s *sample) any { return s.Refus }, false},
		{"on", []string{"true"}, func(s *sample) any { return s.On }, true},
		{"name", []string{""}, func(s *sample) any { return s.Name }, ""},
		{"name", []string{"a,b"}, func(s *sample) any { return s.Name }, "a,b"},
		{"file", []string{"~/x"}, func(s *sample) any { return s.File }, filepath.Join(home, "x")},
		{"file", []string{"x"}, func(s *sample) any { return s.File }, filepath.Join(here, "x")},
		{"list", []string{"a, b", "c"}, func(s *sample) any { return strings.Join(s.List, "|") }, "a|b|c"},
		{"kinds", []string{"b"}, func(s *sample) any { return strings.Join(s.Kinds, "|") }, "b"},
	} {
		var s sample
		if err := find(t, &s, c.name).Set(c.texts...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := c.got(&s); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.name, c.texts, got, c.want)
		}
	}
}

// TestRefused: what is not allowed is named with its option and what to use, by
// Set and, for values that a program sets, by Check.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        func(s *sample) // the same for Check; nil if a program cannot
		says       string
		inRange    bool
	}{
		{"wait", "10ms", func(s *sample) { s.Wait = 10 * time.Millisecond }, "--wait 10ms is out of range; use 1s to 1h", true},
		{"wait", "90m", func(s *sample) { s.Wait = 90 * time.Minute }, "--wait 1h30m is out of range; use 1s to 1h", true},
		{"wait", "10", nil, `--wait "10" is not a duration; use a number with a unit, for example 30s, 500ms or 2h`, false},
		{"rate", "-1", func(s *sample) { s.Rate = -1 }, "--rate -1 is out of range; use 0 (no limit) to 1000000", true},
		{"rate", "NaN", func(s *sample) { s.Rate = math.NaN() }, "--rate NaN is out of range; use 0 (no limit) to 1000000", true},
		{"rate", "fast", nil, `--rate "fast" is not a number`, false},
		{"own", "11", func(s *sample) { s.Named.Own = new(11.0) }, "--own 11 is out of range; use 0 to 10", true},
		{"count", "0", nil, "--count 0 is out of range; use 1 to 100", true},
		{"count", "101", func(s *sample) { s.Count = 101 }, "--count 101 is out of range; use 1 to 100", true},
		{"count", "1e2", nil, `--count "1e2" is not a whole number`, false},
		{"count", "99999999999999999999", nil, "--count 99999999999999999999 is out of range; use 1 to 100", true},
		{"auto", "0", nil, "--auto 0 is out of range; use 10 to 20", true},
		{"auto", "21", func(s *sample) { s.Auto = 21 }, "--auto 21 is out of range; use 10 to 20", true},
		{"open", "1", func(s *sample) { s.Open = 1 }, "--open 1 is out of range; use 2 or more", true},
		{"open", "9223372036854775808", nil, `--open "9223372036854775808" is not a whole number below 2^63`, false},
		{"seed", "-1", nil, `--seed "-1" is not a whole number from 0 to 2^64-1`, false},
		{"mode", "warp", func(s *sample) { s.Mode = "warp" }, `--mode "warp" is unknown; use fast, slow or off`, false},
		{"mode", "", nil, "--mode is empty; leave it out, or give it a value", false},
		{"twice", "yes", nil, `--twice "yes" is unknown; use replace or refuse`, false},
		{"on", "maybe", nil, `--on "maybe": use true or false`, false},
		{"kinds", "a,c", nil, `--kinds "c" is unknown; use a or b`, false},
		{"THING", "", nil, "THING is empty; leave it out, or give it a value", false},
	} {
		want := strings.Replace(c.says, "1h30m", "90m", 1) // Set repeats what was written
		var s sample
		err := find(t, &s, c.name).Set(c.text)
		if rangeErr := (*RangeError)(nil); err == nil || err.Error() != want || errors.As(err, &rangeErr) != c.inRange {
			t.Errorf("Set(%q): %v, want %s", c.text, err, want)
		}
		if c.set == nil {
			continue
		}
		s = sample{}
		Fill(&s)
		c.set(&s)
		if err := Check(&s); err == nil || err.Error() != c.says {
			t.Errorf("Check: %v, want %s", err, c.says)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "listeners", "admin-listen", "pollers", "node", "tls-cert", "max-message"}
	for misspelt, want := range map[string]string{
		"lisen": "listen", "listne": "listen", "listen": "listen", "poller": "pollers", "max-mesage": "max-message",
		"maxmessage": "max-message", "tls-crt": "tls-cert", "colour": "", "x": "",
	} {
		if got := Nearest(misspelt, names); got != want {
			t.Errorf("%s: %q, want %q", misspelt, got, want)
		}
	}
}

func TestWrongDeclarationsPanic(t *testing.T) {
	for name, declare := range map[string]func(){
		"no pointer": func() { Of(sample{}) },
		"bound": func() {
			Of(&struct {
				X int `option:"x" min:"low"`
			}{})
		},
		"default": func() {
			Fill(&struct {
				X int `option:"x" default:"0" min:"1"`
			}{})
		},
		"hidden": func() {
			Of(&struct {
				x int `option:"x"`
			}{})
		},
	} {
		if !panics(declare) {
			t.Errorf("%s is taken", name)
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func TestFormatDuration(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{0, time.Millisecond, 10 * time.Second, 5 * time.Minute, time.Hour, 90 * time.Minute, time.Hour + time.Second} {
		got = append(got, FormatDuration(d))
	}
	if want := []string{"0s", "1ms", "10s", "5m", "1h", "1h30m", "1h0m1s"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
