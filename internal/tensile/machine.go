package tensile

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// State is what the tester is doing.
type State string

// The states. A test goes from idle to running, and then to fractured or
// stopped; a reset puts in a new specimen and leads back to idle.
const (
	Idle      State = "idle"
	Running   State = "running"
	Stopped   State = "stopped"
	Fractured State = "fractured"
)

// Sample is one measurement of all channels at one moment.
type Sample struct {
	Force       float64 // N
	Extension   float64 // mm
	Temperature float64 // °C, at the specimen's surface
}

// Change is a change of state.
type Change struct {
	State    State
	Previous State
	Reason   string // what caused it: "test.start", "test.stop", "test.reset" or "fracture"
	Sample   uint64 // index of the first sample taken in the new state
}

// Options configure a Machine. Only Rate is required.
type Options struct {
	Rate     float64  // samples per second, above 0 and at most 1e6
	Seed     uint64   // of the noise and of the scatter between specimens; equal seeds give equal samples
	Specimen Specimen // the zero value means StructuralSteel()
	Ambient  float64  // °C; 0 means 23
	Exact    bool     // no measurement noise, no scatter between specimens
}

// Limits of the crosshead speed in mm/min.
const (
	MinSpeed = 0.01
	MaxSpeed = 1000
)

// The measurement chain and the surroundings. The collapse is defined in time,
// not in samples: at 10 kHz each sample has half of the load of the previous
// sample.
const (
	forceNoise       = 2.0    // N, standard deviation
	extensionNoise   = 0.0002 // mm
	temperatureNoise = 0.02   // K
	collapseTime     = 150e-6 // s, time constant of the load after the fracture
	coolingTime      = 120.0  // s, time constant back to the ambient temperature
	taylorQuinney    = 0.9    // share of the plastic work that becomes heat
	scatter          = 0.01   // relative standard deviation between specimens
)

// Machine is a tensile tester with a mounted specimen. Each call of Next
// advances a Machine by one sample. A Machine is not safe for concurrent use.
type Machine struct {
	opts Options
	rng  *rand.Rand
	dt   float64 // s

	state   State
	taken   uint64 // samples since New
	changes []Change

	curve       curve
	speed       float64 // mm/s, while running
	startedAt   uint64  // index of the sample at which the crosshead started
	extension   float64 // mm, true
	force       float64 // N, true
	temperature float64 // °C, true
	peak        float64 // N, greatest true force of this test
	brokenAt    uint64  // index of the sample at which the specimen broke
	brokenForce float64 // N, at the fracture
}

// New returns an idle machine with a fresh specimen.
func New(opts Options) (*Machine, error) {
	if !(opts.Rate > 0) || opts.Rate > 1e6 {
		return nil, fmt.Errorf("tensile: rate is %g Hz, must be above 0 and at most 1000000", opts.Rate)
	}
	if opts.Specimen == (Specimen{}) {
		opts.Specimen = StructuralSteel()
	}
	if err := opts.Specimen.Validate(); err != nil {
		return nil, err
	}
	if opts.Ambient == 0 {
		opts.Ambient = 23
	}
	m := &Machine{
		opts:  opts,
		rng:   rand.New(rand.NewPCG(opts.Seed, 0x7e4511e)),
		dt:    1 / opts.Rate,
		state: Idle,
	}
	m.mount()
	return m, nil
}

// State is the present state.
func (m *Machine) State() State { return m.state }

// Taken is the number of samples taken so far, which is also the index of the
// next one.
func (m *Machine) Taken() uint64 { return m.taken }

// Peak is the greatest force in N of the present test, without noise.
func (m *Machine) Peak() float64 { return m.peak }

// Specimen is the mounted specimen, with its scatter.
func (m *Machine) Specimen() Specimen { return m.curve.Specimen }

// Changes returns the changes of state since the last call, oldest first.
func (m *Machine) Changes() []Change {
	c := m.changes
	m.changes = nil
	return c
}

// Start begins a test: the crosshead moves at the given speed in mm/min from
// the next sample on. The specimen must be fresh: only an idle machine starts.
func (m *Machine) Start(speed float64) error {
	if !(speed >= MinSpeed && speed <= MaxSpeed) {
		return fmt.Errorf("speed_mm_min is %g, must be between %g and %d mm/min", speed, MinSpeed, MaxSpeed)
	}
	switch m.state {
	case Running:
		return &TransitionError{"start", m.state, "a test is running already; stop it first"}
	case Stopped, Fractured:
		return &TransitionError{"start", m.state, "reset the machine first, which puts in a new specimen"}
	}
	m.speed = speed / 60
	m.startedAt = m.taken
	m.enter(Running, "test.start")
	return nil
}

// Stop halts the crosshead; the specimen stays under load until the reset.
func (m *Machine) Stop() error {
	if m.state != Running {
		return &TransitionError{"stop", m.state, "no test is running"}
	}
	m.enter(Stopped, "test.stop")
	return nil
}

// Reset unloads the machine and puts in a new specimen.
func (m *Machine) Reset() error {
	switch m.state {
	case Running:
		return &TransitionError{"reset", m.state, "stop the test first"}
	case Idle:
		return &TransitionError{"reset", m.state, "the specimen is fresh; there is nothing to reset"}
	}
	m.mount()
	m.enter(Idle, "test.reset")
	return nil
}

// Next takes the next sample, 1/Rate seconds after the one before.
func (m *Machine) Next() Sample {
	switch m.state {
	case Running:
		m.pull()
	case Fractured:
		since := float64(m.taken-m.brokenAt) * m.dt
		m.force = m.brokenForce * math.Exp(-since/collapseTime)
	}
	m.temperature += (m.opts.Ambient - m.temperature) * m.dt / coolingTime
	m.taken++

	s := Sample{Force: m.force, Extension: m.extension, Temperature: m.temperature}
	if !m.opts.Exact {
		s.Force += forceNoise * m.rng.NormFloat64()
		s.Extension += extensionNoise * m.rng.NormFloat64()
		s.Temperature += temperatureNoise * m.rng.NormFloat64()
	}
	return s
}

// pull stretches the specimen by one sample's worth. The position is computed
// from the count, not summed up, so that a long test does not collect
// rounding errors.
func (m *Machine) pull() {
	m.extension = m.speed * m.dt * float64(m.taken-m.startedAt)
	if m.extension >= m.curve.FractureExtension() {
		m.brokenAt = m.taken
		m.brokenForce = m.force
		m.extension = m.curve.FractureExtension()
		m.enter(Fractured, "fracture")
		return
	}
	force, work := m.curve.advance(m.extension)
	m.force = force
	m.peak = math.Max(m.peak, force)
	m.temperature += taylorQuinney * work / m.curve.HeatCapacity
}

// mount puts in a new specimen, a little different from the previous one.
func (m *Machine) mount() {
	s := m.opts.Specimen
	if !m.opts.Exact {
		s.YieldStress *= m.vary()
		s.HardeningK *= m.vary()
		s.FractureStrain *= m.vary()
		if s.Validate() != nil { // the scatter moved the fracture before the maximum
			s = m.opts.Specimen
		}
	}
	m.curve = newCurve(s)
	m.extension, m.force, m.peak = 0, 0, 0
	m.temperature = m.opts.Ambient
}

// vary returns a random factor close to 1; the tails are cut at three standard
// deviations.
func (m *Machine) vary() float64 {
	return 1 + scatter*math.Max(-3, math.Min(3, m.rng.NormFloat64()))
}

func (m *Machine) enter(s State, reason string) {
	m.changes = append(m.changes, Change{State: s, Previous: m.state, Reason: reason, Sample: m.taken})
	m.state = s
}
