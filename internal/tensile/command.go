package tensile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The commands of a machine.
const (
	CommandStart = "test.start" // payload {"speed_mm_min": 5}
	CommandStop  = "test.stop"
	CommandReset = "test.reset"
)

// TransitionError refuses a command that the present state does not allow.
type TransitionError struct {
	Command string // "start", "stop", "reset"
	State   State  // the present state
	Hint    string // what to do instead
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("cannot %s while %s: %s", e.Command, e.State, e.Hint)
}

// Result is the answer to a command that was carried out.
type Result struct {
	OK        bool    `json:"ok"` // always true
	State     State   `json:"state"`
	Sample    uint64  `json:"sample"`       // index of the first sample in this state
	PeakForce float64 `json:"peak_force_n"` // N, greatest so far in this test
}

// startParams is the payload of test.start. With the pointer a missing speed
// differs from a speed of 0.
type startParams struct {
	SpeedMMMin *float64 `json:"speed_mm_min"`
}

// Do carries out one command with its raw JSON payload, nil if there is none.
// The errors say what the sender must change.
func (m *Machine) Do(command string, payload []byte) (Result, error) {
	var err error
	switch command {
	case CommandStart:
		var p startParams
		if err = decode(payload, &p); err == nil && p.SpeedMMMin == nil {
			err = fmt.Errorf("speed_mm_min is missing; give the crosshead speed in mm/min, %g to %d", MinSpeed, MaxSpeed)
		}
		if err == nil {
			err = m.Start(*p.SpeedMMMin)
		}
	case CommandStop:
		err = m.Stop()
	case CommandReset:
		err = m.Reset()
	default:
		err = fmt.Errorf("unknown command %q; this machine knows %s, %s and %s", command, CommandStart, CommandStop, CommandReset)
	}
	if err != nil {
		return Result{}, err
	}
	return Result{OK: true, State: m.state, Sample: m.taken, PeakForce: m.peak}, nil
}

// decode reads one JSON object and refuses unknown fields: a misspelt speed
// must not start a test at a default speed.
func decode(payload []byte, into any) error {
	if len(bytes.TrimSpace(payload)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("payload: more than one JSON value")
	}
	return nil
}
