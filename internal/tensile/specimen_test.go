package tensile

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestStructuralSteelHasTheStrengthOfItsGrade(t *testing.T) {
	s := StructuralSteel()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	load, at := s.maxLoad()
	if stress := load / s.Area; stress < 470 || stress > 630 {
		t.Errorf("tensile strength %.0f MPa, S355 has 470 to 630", stress)
	}
	if at <= s.yieldExtension() || at >= s.FractureExtension() {
		t.Errorf("maximum load at %.2f mm, not between yield %.2f and fracture %.2f", at, s.yieldExtension(), s.FractureExtension())
	}
}

func TestForceFollowsHookeUpToTheYieldPoint(t *testing.T) {
	s := StructuralSteel()
	stiffness := s.YoungsModulus * s.Area / s.GaugeLength // N/mm
	for i := 1; i <= 100; i++ {
		x := s.yieldExtension() * float64(i) / 100
		if got, want := s.Force(x), stiffness*x; math.Abs(got-want) > 0.005*want {
			t.Fatalf("at %.4f mm: %.1f N, Hooke gives %.1f", x, got, want)
		}
	}
	// Just behind it the line bends: much less force is gained by the same way.
	x := s.yieldExtension()
	if before, after := s.Force(x)-s.Force(0.9*x), s.Force(1.1*x)-s.Force(x); after > before/2 {
		t.Errorf("gains %.0f N before the yield point and %.0f N behind it", before, after)
	}
}

// The shape must hold for any material, not only for the one that is built in.
func TestLoadCurveOfAnyMaterial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for tried < 200 {
		s := Specimen{
			GaugeLength:    10 + 90*rng.Float64(),
			Area:           1 + 100*rng.Float64(),
			YoungsModulus:  2_000 + 300_000*rng.Float64(),
			YieldStress:    20 + 1000*rng.Float64(),
			HardeningK:     50 + 1500*rng.Float64(),
			HardeningN:     0.05 + 0.9*rng.Float64(),
			FractureStrain: 0.02 + rng.Float64(),
			NeckingDrop:    0.6 * rng.Float64(),
			HeatCapacity:   1e6 + 4e6*rng.Float64(),
		}
		if s.Validate() != nil {
			continue // broke before the maximum load
		}
		tried++
		maxLoad, maxAt := s.maxLoad()
		c := newCurve(s)
		const steps = 2000
		last, work := 0.0, 0.0
		for i := range steps {
			x := s.FractureExtension() * float64(i) / steps
			force, w := c.advance(x)
			if w < 0 || math.IsNaN(force) || math.IsNaN(w) {
				t.Fatalf("%+v at %g mm: force %g, work %g", s, x, force, w)
			}
			work += w
			if rising := x <= maxAt; rising && force < last*(1-1e-9) {
				t.Fatalf("%+v: force falls from %g to %g N at %g mm, before the maximum at %g", s, last, force, x, maxAt)
			} else if !rising && i > 0 && force > last*(1+1e-9) && s.FractureExtension()/steps*float64(i-1) > maxAt {
				t.Fatalf("%+v: force rises from %g to %g N at %g mm, behind the maximum", s, last, force, x)
			}
			if force > maxLoad*(1+1e-9) {
				t.Fatalf("%+v: %g N at %g mm exceeds the maximum load %g", s, force, x, maxLoad)
			}
			if i%50 == 0 {
				if direct := s.Force(x); math.Abs(direct-force) > 1e-6*maxLoad {
					t.Fatalf("%+v: walking gives %g N at %g mm, jumping there %g", s, force, x, direct)
				}
			}
			last = force
		}
		if work <= 0 {
			t.Fatalf("%+v: no plastic work up to the fracture", s)
		}
		if f := s.Force(s.FractureExtension()); f != 0 {
			t.Fatalf("%+v: a broken specimen carries %g N", s, f)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Specimen)
		field  string
	}{
		"no area":                {func(s *Specimen) { s.Area = 0 }, "Area"},
		"negative length":        {func(s *Specimen) { s.GaugeLength = -1 }, "GaugeLength"},
		"not a number":           {func(s *Specimen) { s.YieldStress = math.NaN() }, "YieldStress"},
		"infinite":               {func(s *Specimen) { s.YoungsModulus = math.Inf(1) }, "YoungsModulus"},
		"exponent of 1":          {func(s *Specimen) { s.HardeningN = 1 }, "HardeningN"},
		"all load lost":          {func(s *Specimen) { s.NeckingDrop = 1 }, "NeckingDrop"},
		"breaks before maximum":  {func(s *Specimen) { s.FractureStrain = 0.01 }, "FractureStrain"},
		"no capacity for warmth": {func(s *Specimen) { s.HeatCapacity = 0 }, "HeatCapacity"},
	} {
		s := StructuralSteel()
		tc.change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("%s: %v, want an error that names %s", name, err, tc.field)
		}
	}
}

// yieldExtension is the extension in mm at which the specimen stops being
// elastic.
func (s Specimen) yieldExtension() float64 {
	return math.Expm1(s.YieldStress/s.YoungsModulus) * s.GaugeLength
}

// maxLoad returns the greatest force in N that the specimen carries and the
// extension in mm at which it does.
func (s Specimen) maxLoad() (force, extension float64) {
	c := newCurve(s)
	return c.maxLoad, c.maxLoadStrain * s.GaugeLength
}
