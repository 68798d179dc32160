package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/labgate/labgate/bench/internal/host"
	"github.com/labgate/labgate/protocol"
)

// Phases of a recorder in a trial.
const (
	phaseWarmup   = "warmup"
	phaseMeasured = "measured"
)

const (
	devicePart   = "-d" // between prefix and index in names
	userPart     = "-f"
	extraPart    = "-x"
	startDelay   = 5 * time.Millisecond   // before the first message is due
	crossDelay   = 300 * time.Millisecond // more, for nodes to subscribe to each other's telemetry
	readyTimeout = 10 * time.Second       // for front ends to hear of every device
	linger       = 50 * time.Millisecond  // after the last delivery, to notice duplicates
)

func (w *world) deviceName(i int) string { return fmt.Sprintf("%s%s%d", w.prefix, devicePart, i) }
func (w *world) userName(i int) string   { return fmt.Sprintf("%s%s%d", w.prefix, userPart, i) }

// userSource is the src of what user i sends.
func (w *world) userSource(i int) string { return protocol.UserPrefix + w.userName(i) }

func (w *world) devicePeers(n int) []peer {
	peers := make([]peer, n)
	for i := range peers {
		peers[i] = peer{role: roleDevice, index: i, path: w.path(i, "/ws/device/"+w.deviceName(i)+"?type=bench")}
	}
	return peers
}

func (w *world) frontendPeers(n int, telemetry string) []peer {
	peers := make([]peer, n)
	for i := range peers {
		peers[i] = peer{role: roleFrontend, index: i, frontend: true, path: w.path(i, "/ws/frontend/"+w.userName(i)+"?telemetry="+telemetry)}
	}
	return peers
}

// path is the path of connection i of a role: ofGateway, unless the server is
// bare.
func (w *world) path(i int, ofGateway string) string {
	switch w.o.Bare {
	case "":
		return ofGateway
	case BareRelay:
		return fmt.Sprintf("/relay/%d", i)
	}
	return "/" + w.o.Bare
}

// extraPeers are connections that send nothing.
func (w *world) extraPeers(n int, asRole string) []peer {
	peers := make([]peer, n)
	for i := range peers {
		name := fmt.Sprintf("%s%s%d", w.prefix, extraPart, i)
		peers[i] = peer{role: roleExtra, index: i, path: w.path(i, "/ws/device/"+name+"?type=bench")}
		if asRole == "frontend" {
			peers[i].frontend = true
			peers[i].path = w.path(i, "/ws/frontend/"+name+"?telemetry=none")
		}
	}
	return peers
}

// populate opens devices, then front ends. With telemetry, populate waits until
// every front end knows every device.
func (w *world) populate(ctx context.Context) (*Connects, error) {
	telemetry := "none"
	if w.o.fansOut() {
		telemetry = "all"
	}
	res, err := w.connect(ctx, w.devicePeers(w.o.allDevices()))
	if w.o.Bare == BareEcho {
		w.frontends = w.devices // an echo returns messages to their sender
	} else if err == nil && res.Failed == 0 {
		var fe *Connects
		fe, err = w.connect(ctx, w.frontendPeers(w.o.Frontends, telemetry))
		res.merge(fe)
	}
	if err != nil {
		return res, err
	}
	if res.Failed > 0 {
		return res, errIncomplete
	}
	ready := func() bool {
		return !slices.ContainsFunc(w.frontends, func(c *conn) bool { return c.knows < len(c.known) })
	}
	if err := w.run(ctx, w.clock.now()+int64(readyTimeout), ready); err != nil {
		return res, err
	}
	for _, c := range w.frontends {
		if c.knows < len(c.known) {
			w.problems.add(problemUnready, "%s heard of %d of %d devices within %v", c, c.knows, len(c.known), readyTimeout)
		}
	}
	if !ready() {
		return res, errIncomplete
	}
	return res, nil
}

// startTraffic begins the flows of the scenario; they end at until.
func (w *world) startTraffic(start, until int64) {
	if w.o.fansOut() {
		w.telemetry = newTelemetryFlow(w, newSchedule(start, w.o.framesPerSecond()), until)
		w.tickers = append(w.tickers, w.telemetry.gen)
	}
	if w.o.Scenario == ScenarioUnicast {
		w.unicast = newUnicastFlow(w, newSchedule(start, w.o.Rate), until)
		w.tickers = append(w.tickers, w.unicast.gen)
	}
	if rate := w.o.commandsPerSecond(); rate > 0 {
		w.commands = newCommandFlow(w, newSchedule(start, rate), until)
		w.tickers = append(w.tickers, w.commands.gen)
	}
	w.nextTick = start
}

// phase begins a phase in every recorder.
func (w *world) phase(name string, from int64, keep bool) {
	for _, r := range w.recorders() {
		r.begin(name, from, keep)
	}
}

func (w *world) recorders() (all []*recorder) {
	if f := w.telemetry; f != nil {
		all = append(all, &f.lat, &f.gen.lag, &f.gen.late)
	}
	if f := w.unicast; f != nil {
		all = append(all, &f.lat, &f.gen.lag, &f.gen.late)
	}
	if f := w.commands; f != nil {
		all = append(all, &f.lat, &f.latUrg, &f.gen.lag, &f.gen.late)
	}
	return all
}

// lateness is the lateness of the generators in a phase; of two, the worse.
func (w *world) lateness(phase string) (worst *Latency) {
	var gens []*generator
	if w.telemetry != nil {
		gens = append(gens, w.telemetry.gen)
	}
	if w.unicast != nil {
		gens = append(gens, w.unicast.gen)
	}
	if w.commands != nil {
		gens = append(gens, w.commands.gen)
	}
	for _, g := range gens {
		if l := g.late.summary(phase); l != nil && (worst == nil || l.P99 > worst.P99) {
			worst = l
		}
	}
	return worst
}

// settled reports whether all messages of all flows are accounted for.
func (w *world) settled() bool {
	return (w.telemetry == nil || w.telemetry.settled()) &&
		(w.unicast == nil || w.unicast.settled()) &&
		(w.commands == nil || w.commands.settled())
}

// accounted grows with every delivery and every report of loss.
func (w *world) accounted() (n uint64) {
	for _, c := range w.frontends {
		n += c.tally.accounted()
	}
	for _, c := range w.devices {
		n += c.tally.accounted()
	}
	if f := w.commands; f != nil {
		n += f.delivered + f.answered + f.refused
	}
	return n
}

// outcome is the result of a drain.
type outcome uint8

const (
	settledAll  outcome = iota // every message is accounted for
	stalledRest                // deliveries ended, and messages are missing
	cutRest                    // time ended while messages were still arriving
)

// drain waits for messages in flight: until all are accounted for, no message
// has arrived for Options.Drain, or longest is over. took is the time to the last
// delivery, in ns from the call.
func (w *world) drain(ctx context.Context, longest time.Duration) (out outcome, took int64, err error) {
	begun := w.clock.now()
	last, lastAt, nextCheck := w.accounted(), begun, begun
	out = cutRest
	err = w.run(ctx, begun+int64(longest), func() bool {
		now := w.clock.now()
		if now < nextCheck {
			return false
		}
		nextCheck = now + int64(time.Millisecond)
		if n := w.accounted(); n != last {
			last, lastAt = n, now
		}
		switch {
		case w.settled():
			out = settledAll
		case now-lastAt > int64(w.o.Drain):
			out = stalledRest
		default:
			return false
		}
		return true
	})
	if err == nil && out == settledAll {
		err = w.run(ctx, w.clock.now()+int64(linger), nil)
	}
	return out, lastAt - begun, err
}

// mark is a reading of all counters at one moment.
type mark struct {
	at         int64
	deliveries uint64 // frames and messages, commands counted at both ends
	telemetry  uint64 // of these
	unicast    uint64
	answers    uint64
	bytesIn    int64
	own        float64 // CPU time of the load generator, in seconds
	server     serverSample
}

func (w *world) mark() mark {
	m := mark{bytesIn: w.bytesIn, own: host.OwnCPUTime()}
	if w.telemetry != nil {
		for _, c := range w.frontends {
			m.telemetry += c.frames
		}
	}
	if w.unicast != nil {
		for _, c := range w.devices {
			m.unicast += c.frames
		}
	}
	m.deliveries = m.telemetry + m.unicast
	if f := w.commands; f != nil {
		m.answers = f.answered
		m.deliveries += f.delivered + f.answered
	}
	m.server = sampleServer(w.o)
	m.at = w.clock.now()
	return m
}
