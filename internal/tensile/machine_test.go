package tensile

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func newMachine(t *testing.T, o Options) *Machine {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run starts a test and takes samples until the machine leaves running.
func run(t *testing.T, m *Machine, speed float64) []Sample {
	t.Helper()
	if err := m.Start(speed); err != nil {
		t.Fatal(err)
	}
	var all []Sample
	for m.State() == Running {
		if len(all) > 1_000_000 {
			t.Fatal("the specimen never breaks")
		}
		all = append(all, m.Next())
	}
	return all
}

func TestWholeTestOfAnExactMachine(t *testing.T) {
	m := newMachine(t, Options{Rate: 1000, Exact: true})
	all := run(t, m, 300)

	peak := slices.MaxFunc(all, func(a, b Sample) int { return int(math.Copysign(1, a.Force-b.Force)) })
	load, at := m.Specimen().maxLoad()
	if math.Abs(peak.Force-load) > 0.001*load || math.Abs(peak.Extension-at) > 0.1 {
		t.Errorf("peak %.1f N at %.2f mm, want %.1f at %.2f", peak.Force, peak.Extension, load, at)
	}
	yield := m.Specimen().yieldExtension()
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if b.Extension <= yield && b.Force <= a.Force {
			t.Fatalf("sample %d: force does not rise in the elastic range: %g then %g N", i, a.Force, b.Force)
		}
		if b.Extension < a.Extension {
			t.Fatalf("sample %d: extension goes back", i)
		}
	}
	if first := all[0]; first.Force != 0 || first.Extension != 0 {
		t.Errorf("starts with %+v, want no load and no extension", first)
	}
	if last := all[len(all)-1]; last.Force < load/2 || last.Force >= peak.Force {
		t.Errorf("%.0f N at the fracture, want less than the peak and more than half of it", last.Force)
	}
	if m.Peak() != peak.Force {
		t.Errorf("Peak() is %g, want %g", m.Peak(), peak.Force)
	}
}

func TestForceCollapsesWithinAFewSamples(t *testing.T) {
	m := newMachine(t, Options{Rate: 10_000, Exact: true})
	all := run(t, m, MaxSpeed)
	before := all[len(all)-1].Force
	previous := before
	for i := 1; i <= 8; i++ {
		s := m.Next()
		if s.Force >= previous {
			t.Fatalf("sample %d after the fracture: %g N after %g", i, s.Force, previous)
		}
		previous = s.Force
	}
	if previous > 0.01*before {
		t.Errorf("eight samples after the fracture %.0f of %.0f N are left", previous, before)
	}
	if s := m.Next(); s.Extension != m.Specimen().FractureExtension() {
		t.Errorf("the crosshead is at %g mm, should stand at the fracture, %g", s.Extension, m.Specimen().FractureExtension())
	}
}

func TestPlasticWorkWarmsTheSpecimen(t *testing.T) {
	m := newMachine(t, Options{Rate: 1000, Exact: true})
	all := run(t, m, MaxSpeed)
	yield := m.Specimen().yieldExtension()
	for i, s := range all {
		if s.Extension <= yield && s.Temperature != 23 {
			t.Fatalf("sample %d: %g °C while elastic", i, s.Temperature)
		}
		if s.Extension > yield && i > 0 && s.Temperature < all[i-1].Temperature && m.State() == Running {
			t.Fatalf("sample %d: cools while it is deformed fast", i)
		}
	}
	// All plastic work but the radiated part: a steel specimen pulled in a
	// second gets about 30 K warmer.
	hot := all[len(all)-1].Temperature
	if hot < 23+20 || hot > 23+50 {
		t.Errorf("%.1f °C at the fracture, want 43 to 73", hot)
	}
	for range 600 * 1000 {
		m.Next()
	}
	if s := m.Next(); s.Temperature > 23.5 {
		t.Errorf("%.1f °C ten minutes later, want it back at the ambient 23", s.Temperature)
	}
	// In a slow test the heat dissipates.
	slow := newMachine(t, Options{Rate: 10, Exact: true})
	if s := run(t, slow, 1); s[len(s)-1].Temperature > 23+5 {
		t.Errorf("%.1f °C after a test of a quarter of an hour", s[len(s)-1].Temperature)
	}
}

func TestStoppedMachineHoldsTheLoad(t *testing.T) {
	m := newMachine(t, Options{Rate: 1000, Exact: true})
	if err := m.Start(60); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		m.Next()
	}
	held := m.Next()
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if s := m.Next(); s.Force != held.Force || s.Extension != held.Extension {
			t.Fatalf("moves after the stop: %+v, was %+v", s, held)
		}
	}
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	if s := m.Next(); s.Force != 0 || s.Extension != 0 {
		t.Errorf("%+v after the reset, want no load", s)
	}
}

func TestSeedDecidesEverything(t *testing.T) {
	take := func(seed uint64) []Sample {
		m := newMachine(t, Options{Rate: 1000, Seed: seed})
		first := run(t, m, 600)
		if err := m.Reset(); err != nil {
			t.Fatal(err)
		}
		return append(first, run(t, m, 600)...)
	}
	a, b, c := take(1), take(1), take(2)
	if !slices.Equal(a, b) {
		t.Error("equal seeds give different samples")
	}
	if slices.Equal(a, c) {
		t.Error("different seeds give equal samples")
	}
}

func TestNoiseIsSmallAndCentred(t *testing.T) {
	m := newMachine(t, Options{Rate: 1000, Seed: 7})
	const n = 20_000
	var sum, squares float64
	for range n {
		f := m.Next().Force
		sum += f
		squares += f * f
	}
	if mean := sum / n; math.Abs(mean) > 0.1 {
		t.Errorf("mean force %.3f N without load", mean)
	}
	if dev := math.Sqrt(squares / n); math.Abs(dev-forceNoise) > 0.1 {
		t.Errorf("deviation %.2f N, want %.1f", dev, forceNoise)
	}
}

func TestWrongTransitionsAreRefused(t *testing.T) {
	reach := map[State]func(*Machine){
		Idle:      func(*Machine) {},
		Running:   func(m *Machine) { m.Start(1000) },
		Stopped:   func(m *Machine) { m.Start(1000); m.Stop() },
		Fractured: func(m *Machine) { run(t, m, 1000) },
	}
	do := map[string]func(*Machine) error{
		"start": func(m *Machine) error { return m.Start(5) },
		"stop":  (*Machine).Stop,
		"reset": (*Machine).Reset,
	}
	allowed := map[State]map[string]State{
		Idle:      {"start": Running},
		Running:   {"stop": Stopped},
		Stopped:   {"reset": Idle},
		Fractured: {"reset": Idle},
	}
	for state, prepare := range reach {
		for command, f := range do {
			m := newMachine(t, Options{Rate: 100, Exact: true})
			prepare(m)
			if m.State() != state {
				t.Fatalf("prepared %s, want %s", m.State(), state)
			}
			m.Changes()
			err := f(m)
			if next, ok := allowed[state][command]; ok {
				if err != nil || m.State() != next {
					t.Errorf("%s while %s: %v and %s, want %s", command, state, err, m.State(), next)
				}
				continue
			}
			var refused *TransitionError
			if !errors.As(err, &refused) || refused.State != state || refused.Command != command || refused.Hint == "" {
				t.Errorf("%s while %s: %v, want a TransitionError", command, state, err)
			}
			if m.State() != state || len(m.Changes()) != 0 {
				t.Errorf("%s while %s was refused and yet changed something", command, state)
			}
		}
	}
}

func TestChangesNameTheSample(t *testing.T) {
	m := newMachine(t, Options{Rate: 100, Exact: true})
	for range 10 {
		m.Next()
	}
	all := run(t, m, 1000)
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	// The sample that saw the fracture is the first of the new state.
	end := 10 + uint64(len(all))
	want := []Change{
		{Running, Idle, "test.start", 10},
		{Fractured, Running, "fracture", end - 1},
		{Idle, Fractured, "test.reset", end},
	}
	if got := m.Changes(); !slices.Equal(got, want) {
		t.Errorf("changes %+v, want %+v", got, want)
	}
	if got := m.Changes(); got != nil {
		t.Errorf("changes are reported twice: %+v", got)
	}
}

func TestCommands(t *testing.T) {
	for name, tc := range map[string]struct {
		command, payload string
		running          bool
		want             string // part of the error; "" for success
	}{
		"start":               {"test.start", `{"speed_mm_min": 5}`, false, ""},
		"start without speed": {"test.start", `{}`, false, "speed_mm_min is missing"},
		"start with nothing":  {"test.start", ``, false, "speed_mm_min is missing"},
		"speed of 0":          {"test.start", `{"speed_mm_min": 0}`, false, "between 0.01 and 1000"},
		"negative speed":      {"test.start", `{"speed_mm_min": -5}`, false, "between 0.01 and 1000"},
		"too fast":            {"test.start", `{"speed_mm_min": 1e9}`, false, "between 0.01 and 1000"},
		"speed is a string":   {"test.start", `{"speed_mm_min": "5"}`, false, "payload"},
		"misspelt field":      {"test.start", `{"speed": 5}`, false, `unknown field "speed"`},
		"not an object":       {"test.start", `[5]`, false, "payload"},
		"two values":          {"test.start", `{"speed_mm_min": 5}{}`, false, "more than one"},
		"stop while idle":     {"test.stop", ``, false, "cannot stop while idle"},
		"stop":                {"test.stop", ``, true, ""},
		"reset while running": {"test.reset", ``, true, "stop the test first"},
		"unknown":             {"test.explode", ``, false, "unknown command"},
	} {
		m := newMachine(t, Options{Rate: 100, Exact: true})
		if tc.running {
			if err := m.Start(5); err != nil {
				t.Fatal(err)
			}
		}
		before := m.State()
		r, err := m.Do(tc.command, []byte(tc.payload))
		switch {
		case tc.want == "" && (err != nil || !r.OK || r.State != m.State() || r.State == before):
			t.Errorf("%s: %+v, %v", name, r, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		case tc.want != "" && m.State() != before:
			t.Errorf("%s: refused, but the state is %s", name, m.State())
		}
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), 2e6} {
		if _, err := New(Options{Rate: rate}); err == nil {
			t.Errorf("rate %g is accepted", rate)
		}
	}
	if _, err := New(Options{Rate: 1, Specimen: Specimen{Area: 1}}); err == nil {
		t.Error("an unphysical specimen is accepted")
	}
}
