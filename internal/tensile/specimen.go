// Package tensile models a tensile tester: a machine that pulls a specimen
// apart at constant speed and reports force, extension and temperature.
//
// `labgate simulate` and tests use the package as a realistic device: the force
// rises linearly (Hooke's law), bends at the yield point, rises further with
// hardening up to a maximum, falls while the specimen necks, and collapses
// within a few samples at the fracture. The collapse is the important part: a
// peak that lasts less than a millisecond shows whether a telemetry path that
// decimates data keeps the extremes.
//
// Everything is deterministic: equal options and equal commands between equal
// sample counts give equal samples. The model reads no clock, starts no
// goroutine and has no lock; a [Machine] belongs to one goroutine.
package tensile

import (
	"fmt"
	"math"
)

// Specimen is a test piece and the law that its material follows: linear
// elastic up to the yield stress, Ludwik hardening (true stress =
// yield + K * plastic strain ^ n) up to the maximum load, a parabolic fall of
// the load while it necks, fracture.
type Specimen struct {
	GaugeLength    float64 // mm, the length that is stretched
	Area           float64 // mm², the cross-section before the test
	YoungsModulus  float64 // MPa (N/mm²)
	YieldStress    float64 // MPa
	HardeningK     float64 // MPa, Ludwik's strength coefficient
	HardeningN     float64 // Ludwik's exponent, between 0 and 1
	FractureStrain float64 // elongation at fracture divided by the gauge length; beyond the strain of maximum load
	NeckingDrop    float64 // share of the maximum load that is lost by necking when it breaks, 0 to below 1
	HeatCapacity   float64 // J/(m³·K), density times specific heat
}

// StructuralSteel is a flat specimen of a steel like S355: it yields at about
// 18 kN, carries about 25 kN and breaks after about 14 mm.
func StructuralSteel() Specimen {
	return Specimen{
		GaugeLength:    50,
		Area:           50,
		YoungsModulus:  210_000,
		YieldStress:    355,
		HardeningK:     550,
		HardeningN:     0.45,
		FractureStrain: 0.28,
		NeckingDrop:    0.25,
		HeatCapacity:   7850 * 460,
	}
}

// Validate reports the first field that has no physical meaning.
func (s Specimen) Validate() error {
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"GaugeLength", s.GaugeLength}, {"Area", s.Area}, {"YoungsModulus", s.YoungsModulus},
		{"YieldStress", s.YieldStress}, {"HardeningK", s.HardeningK}, {"HardeningN", s.HardeningN},
		{"FractureStrain", s.FractureStrain}, {"HeatCapacity", s.HeatCapacity},
	} {
		if !(f.value > 0) || math.IsInf(f.value, 0) {
			return fmt.Errorf("tensile: specimen %s is %g, must be a positive number", f.name, f.value)
		}
	}
	if s.HardeningN >= 1 {
		return fmt.Errorf("tensile: specimen HardeningN is %g, must be below 1", s.HardeningN)
	}
	if !(s.NeckingDrop >= 0) || s.NeckingDrop >= 1 {
		return fmt.Errorf("tensile: specimen NeckingDrop is %g, must be at least 0 and below 1", s.NeckingDrop)
	}
	if u := newCurve(s).maxLoadStrain; s.FractureStrain <= u {
		return fmt.Errorf("tensile: specimen FractureStrain is %g, must be beyond the strain of maximum load, %.3g", s.FractureStrain, u)
	}
	return nil
}

// FractureExtension is the extension in mm at which the specimen breaks.
func (s Specimen) FractureExtension() float64 { return s.FractureStrain * s.GaugeLength }

// Force returns the load in N at an extension in mm of a specimen that has only
// been pulled; 0 at and beyond the fracture, and below 0 mm.
func (s Specimen) Force(extension float64) float64 {
	c := newCurve(s)
	force, _ := c.advance(extension)
	return force
}

// curve walks along the load curve of one specimen. It remembers the plastic
// strain of the last point, so that the next one costs one or two Newton steps.
type curve struct {
	Specimen
	maxLoad       float64 // N
	maxLoadStrain float64 // engineering strain at maxLoad
	plastic       float64 // plastic true strain reached so far
	strain        float64 // engineering strain reached so far
}

func newCurve(s Specimen) curve {
	c := curve{Specimen: s}
	// Considère: the load is greatest where hardening no longer makes up for
	// the shrinking cross-section, d(stress)/d(strain) = stress. The left side
	// falls and the right side rises, so bisection finds the one crossing.
	lo, hi := 1e-12, 10.0
	for range 200 {
		mid := (lo + hi) / 2
		slope := s.HardeningK * s.HardeningN * math.Pow(mid, s.HardeningN-1)
		if slope > s.flow(mid)*(1+slope/s.YoungsModulus) {
			lo = mid
		} else {
			hi = mid
		}
	}
	stress := s.flow(lo)
	total := stress/s.YoungsModulus + lo
	c.maxLoad = s.Area * stress * math.Exp(-total)
	c.maxLoadStrain = math.Expm1(total)
	return c
}

// flow is the true stress in MPa that deforms the material further after the
// given plastic strain.
func (s Specimen) flow(plastic float64) float64 {
	return s.YieldStress + s.HardeningK*math.Pow(plastic, s.HardeningN)
}

// advance moves to an extension in mm, which must not be less than the one
// before, and returns the load in N and the plastic work done on the way in
// J/m³.
func (c *curve) advance(extension float64) (force, work float64) {
	strain := extension / c.GaugeLength
	before := c.strain
	c.strain = strain
	switch {
	case extension <= 0 || extension >= c.FractureExtension():
		return 0, 0
	case strain > c.maxLoadStrain:
		// Necking: the parabola leaves the maximum with slope 0, so the load
		// has no kink there.
		x := (strain - c.maxLoadStrain) / (c.FractureStrain - c.maxLoadStrain)
		force = c.maxLoad * (1 - c.NeckingDrop*x*x)
		return force, 1e6 * force / c.Area * (strain - math.Max(before, c.maxLoadStrain))
	}
	total := math.Log1p(strain)
	if total <= c.YieldStress/c.YoungsModulus {
		return c.Area * c.YoungsModulus * total * math.Exp(-total), 0
	}
	plasticBefore := c.plastic
	stress := c.solve(total)
	return c.Area * stress * math.Exp(-total), 1e6 * stress * (c.plastic - plasticBefore)
}

// solve finds the plastic strain whose flow stress, with the elastic strain it
// brings, makes up the total true strain. The function is concave and rising,
// so Newton's method started left of the root approaches it from the left and
// never leaves the domain of the power.
func (c *curve) solve(total float64) float64 {
	p := math.Max(c.plastic, 1e-12)
	for range 50 {
		stress := c.flow(p)
		miss := total - stress/c.YoungsModulus - p
		step := miss / (1 + c.HardeningN*(stress-c.YieldStress)/p/c.YoungsModulus)
		if step <= 1e-13 {
			break
		}
		p += step
	}
	c.plastic = p
	// The elastic part gives the stress, not flow(p): with an exponent close to
	// 0 even the smallest plastic strain hardens visibly, and until that stress
	// is reached the material is still elastic.
	return c.YoungsModulus * (total - p)
}
