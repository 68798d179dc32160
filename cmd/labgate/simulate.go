package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/tensile"
	"github.com/labgate/labgate/protocol"
)

// SimulateCmd connects simulated tensile testers.
type SimulateCmd struct {
	ClientOptions
	Device          string  `option:"device" placeholder:"ID" default:"tensile-1" help:"Device id. With more than one device, -1, -2, ... are appended."`
	Devices         int     `option:"devices" default:"1" min:"1" max:"1000" help:"Number of testers."`
	Rate            float64 `option:"rate" default:"10000" help:"Samples per second of each tester."`
	SamplesPerFrame int     `option:"samples-per-frame" default:"100" help:"Samples in one telemetry frame: small frames arrive sooner, large frames cost less CPU."`
	Seed            uint64  `option:"seed" default:"1" help:"Seed of the simulated noise and scatter: the same seed gives the same measurements."`
}

// channels of the telemetry, in this order: force (N), extension (mm),
// temperature (°C).
const channels = 3

// produceEvery is how often a tester produces the samples that are due.
const produceEvery = 5 * time.Millisecond

// reportEvery is how often a tester reports its state.
const reportEvery = time.Second

// produceMost is the largest number of samples produced at a time: after a long
// pause of the process, commands do not wait long and memory stays limited; the
// stream drops samples that are too old.
const produceMost = 4096

// Run connects the testers and lets them report until ctx ends.
func (c *SimulateCmd) Run(ctx context.Context, out *Streams) error {
	if _, err := c.token(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	errs := make(chan error, c.Devices)
	for i := range c.Devices {
		id := c.Device
		if c.Devices > 1 {
			id = fmt.Sprintf("%s-%d", c.Device, i+1)
		}
		running.Go(func() {
			if err := c.simulate(ctx, out, id, c.Seed+uint64(i)); err != nil && ctx.Err() == nil {
				errs <- fmt.Errorf("%s: %w", id, err)
				cancel()
			}
		})
	}
	running.Wait()
	close(errs)
	return <-errs
}

// simulate runs one tester.
func (c *SimulateCmd) simulate(ctx context.Context, out *Streams, id string, seed uint64) error {
	machine, err := tensile.New(tensile.Options{Rate: c.Rate, Seed: seed})
	if err != nil {
		return err
	}
	t := &tester{machine: machine}
	about := tensile.Describe(c.Rate)
	log := out.Log.With().Str("device", id).Logger()
	dev, err := client.DialDevice(ctx, c.config(&log), client.DeviceConfig{
		ID: id, Type: "tensile_tester",
		Meta:        map[string]string{"channels": "force N,extension mm,temperature °C", "rate_hz": fmt.Sprint(c.Rate)},
		Description: &about,
		OnConnect:   t.reportState,
		OnCommand:   t.command,
		OnMessage: func(m protocol.Message) {
			if m.Type == protocol.TypeError {
				log.Warn().RawJSON("error", m.Payload).Msg("the gateway refused a message")
			}
		},
	})
	if err != nil {
		return err
	}
	defer dev.Close()
	period := time.Duration(float64(time.Second) / c.Rate)
	stream, err := client.NewStream[float32](dev, channels, period, c.SamplesPerFrame)
	if err != nil {
		return err
	}
	defer stream.Close()
	log.Info().Str("url", c.URL).Float64("rate_hz", c.Rate).Msg("tester connected")
	return t.produce(ctx, dev, stream, period)
}

// tester is one simulated machine on its connection.
type tester struct {
	// mu guards the machine, which commands and the production of samples
	// share. mu is held while a change of state is queued, so that changes are
	// reported in order.
	mu      sync.Mutex
	machine *tensile.Machine
	dev     *client.Device // set on the first connection, before the first command
}

// produce produces the samples that are due.
func (t *tester) produce(ctx context.Context, dev *client.Device, stream *client.Stream[float32], period time.Duration) error {
	pacer, err := tensile.NewPacer(time.Now(), period)
	if err != nil {
		return err
	}
	tick := time.NewTicker(produceEvery)
	defer tick.Stop()
	report := time.NewTicker(reportEvery)
	defer report.Stop()
	values := make([]float32, 0, 1024)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-dev.Done():
			return dev.Err()
		case <-report.C:
			if err := t.reportProgress(); err != nil {
				return err
			}
		case now := <-tick.C:
			_, due := pacer.Due(now)
			for due > 0 && ctx.Err() == nil {
				n := min(due, produceMost)
				due -= n
				var err error
				if values, err = t.measure(values[:0], n); err == nil {
					err = stream.Append(values...)
				}
				if err != nil {
					return err
				}
			}
		}
	}
}

// measure appends the next n samples to values, and reports changes of state.
func (t *tester) measure(values []float32, n int) ([]float32, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range n {
		s := t.machine.Next()
		values = append(values, float32(s.Force), float32(s.Extension), float32(s.Temperature))
	}
	return values, t.tellChanges()
}

// command carries out one command of a front end.
func (t *tester) command(_ context.Context, m protocol.Message) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	result, err := t.machine.Do(m.Type, m.Payload)
	if err != nil {
		return nil, err
	}
	return result, t.tellChanges()
}

// stateChange is the payload of test.state_changed.
type stateChange struct {
	State    tensile.State `json:"state"`
	Previous tensile.State `json:"previous,omitempty"`
	Reason   string        `json:"reason"`
	Sample   uint64        `json:"sample"` // index of the first sample in this state
}

// reportState reports the state after each connect, because changes may have
// happened without a connection.
func (t *tester) reportState(dev *client.Device, _ protocol.Welcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dev = dev
	t.machine.Changes()
	_ = t.tell(dev, tensile.EventStateChanged, stateChange{State: t.machine.State(), Reason: "connected", Sample: t.machine.Taken()})
}

// progress is the payload of test.state: the present state of the test, for
// front ends that connected after the last change.
type progress struct {
	State     tensile.State `json:"state"`
	Sample    uint64        `json:"sample"`       // samples taken since the start
	PeakForce float64       `json:"peak_force_n"` // N, in this test
}

func (t *tester) reportProgress() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tell(t.dev, tensile.EventState, progress{t.machine.State(), t.machine.Taken(), t.machine.Peak()})
}

// tellChanges sends the changes of state since the last call. The caller holds
// mu.
func (t *tester) tellChanges() error {
	for _, c := range t.machine.Changes() {
		if err := t.tell(t.dev, tensile.EventStateChanged, stateChange{State: c.State, Previous: c.Previous, Reason: c.Reason, Sample: c.Sample}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tester) tell(dev *client.Device, typ string, payload any) error {
	m, err := protocol.NewMessage(typ, payload)
	if err != nil {
		return err
	}
	m.TS = time.Now().UnixMicro()
	err = dev.Send(m)
	if errors.Is(err, client.ErrNotConnected) {
		return nil
	}
	return err
}
