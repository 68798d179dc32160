package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/labgate/labgate/internal/option"
)

// The scenarios that Run knows.
const (
	ScenarioFanout    = "fanout"    // devices' telemetry frames of a given size to every front end
	ScenarioUnicast   = "unicast"   // text from each front end to its own device
	ScenarioTelemetry = "telemetry" // devices at a sample rate, S samples a frame, to every front end
	ScenarioCommands  = "commands"  // round trips front end, device, front end
	ScenarioIdle      = "idle"      // connections kept open
	ScenarioStorm     = "storm"     // all connections dropped at once, then reconnected
	ScenarioCluster   = "cluster"   // messages, commands and telemetry across two nodes
)

// Scenarios lists the names that Options.Scenario takes.
var Scenarios = []string{ScenarioFanout, ScenarioUnicast, ScenarioTelemetry, ScenarioCommands, ScenarioIdle, ScenarioStorm, ScenarioCluster}

// The values of Options.Bare: what a bare server does with a message.
const (
	BareRelay = "relay" // unicast, commands: to the other connection of the same path, /relay/N
	BareEcho  = "echo"  // unicast: back to its sender
	BareIdle  = "idle"  // idle: no messages are sent
)

// Options describes one run. Zero values mean the scenario's default, which
// Run fills in; the report shows the values used.
type Options struct {
	Scenario string `json:"scenario"`
	// Target is the gateway's base URL: http:// or ws://, host and port.
	Target string `json:"target" option:"target" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The gateway's address. Loopback only, unless --allow-remote."`
	// FrontendTarget is where front ends connect; empty: Target.
	FrontendTarget string `json:"frontend_target,omitempty" option:"frontend-target" unset:"--target" placeholder:"URL" help:"The gateway that front ends connect to. For cluster: another node than --target."`
	// Redis is the address of the nodes' Redis, host:port without TLS and
	// password, for the scenario cluster; empty: nothing to compare with.
	Redis string `json:"redis,omitempty" option:"redis-addr" placeholder:"HOST:PORT" help:"cluster: address of the nodes' Redis, to measure its speed without gateways for comparison."`

	// Devices send telemetry or answer commands; Frontends receive telemetry or
	// send messages; Connections are additional connections of idle and storm.
	Devices     int `json:"devices,omitempty" option:"devices" min:"0" max:"20000" unset:"fanout, telemetry 1; commands, storm 10; cluster 20; unicast as many as front ends" help:"Number of devices."`
	Frontends   int `json:"frontends,omitempty" option:"frontends" min:"0" max:"20000" unset:"fanout, unicast 200; telemetry, cluster 20; commands, storm 10" help:"Number of front ends."`
	Connections int `json:"connections,omitempty" option:"connections" min:"0" max:"20000" unset:"idle 10000; storm 5000" help:"idle, storm: number of further connections, which idle keeps open and storm drops."`

	// Rate is, by scenario: fanout, frames/s of each device; telemetry,
	// samples/s of each device; unicast, commands and storm, messages/s in all.
	Rate float64 `json:"rate,omitempty" option:"rate" min:"0" max:"50000000" unset:"fanout 250; telemetry, unicast 10000; commands, storm 1000; cluster 500; with --saturate 2000" help:"fanout: frames/s of each device. telemetry: samples/s of each device. unicast, commands, storm, cluster: messages/s of all together; cluster looks for the highest rates by itself. With --saturate: the first rate tried."`
	// Samples is the number of samples a frame, Channels that of values a sample.
	Samples  int `json:"samples,omitempty" option:"samples" unset:"10" help:"telemetry: samples in one frame."`
	Channels int `json:"channels,omitempty" option:"channels" default:"1" min:"1" max:"65535" help:"Values in one sample."`
	// Size is in bytes, by scenario: fanout, the telemetry frame with its
	// 32-byte header; unicast, commands and storm, the JSON payload.
	Size int `json:"size,omitempty" option:"size" min:"0" max:"1048576" unset:"128" placeholder:"BYTES" help:"fanout: size of a telemetry frame with its header. All others: size of a text payload."`

	// CommandRate adds commands/s to fanout and telemetry.
	CommandRate float64 `json:"command_rate,omitempty" option:"command-rate" min:"0" max:"50000000" help:"fanout, telemetry: commands/s in addition to the telemetry."`
	// CommandDevices adds devices to fanout and telemetry that answer commands
	// and send no telemetry, so that answers do not wait behind telemetry in
	// one connection. 0: the devices that send telemetry get the commands.
	CommandDevices int           `json:"command_devices,omitempty" option:"command-devices" min:"0" max:"20000" unset:"none: the devices that send telemetry get the commands" help:"Number of devices that answer the commands of --command-rate and send no telemetry."`
	UrgentShare    float64       `json:"urgent_share,omitempty" option:"urgent-share" min:"0" max:"1" help:"Fraction of the commands that are urgent."`
	CommandTimeout time.Duration `json:"command_timeout_ns,omitempty" option:"command-timeout" default:"10s" min:"1ms" max:"10m" help:"How long a command waits for its answer (timeout_ms)."`

	// Duration is the length of the measurement. The messages of Warmup, before
	// it, are verified but not measured. After it, Drain is the longest wait
	// without progress for messages on their way. Timeout limits the whole run.
	Duration time.Duration `json:"duration_ns" option:"duration" default:"10s" min:"1ms" max:"24h" help:"Length of the measurement."`
	Warmup   time.Duration `json:"warmup_ns" option:"warmup" min:"0s" max:"1h" unset:"500ms" help:"Time before the measurement; its messages are verified but not measured."`
	Drain    time.Duration `json:"drain_ns" option:"drain" default:"2s" min:"1ms" max:"1h" help:"How long to wait at the end for messages that are still on their way; each delivery starts the wait again."`
	Timeout  time.Duration `json:"timeout_ns" option:"timeout" min:"1ms" max:"25h" unset:"duration, warm-up and 1m; 5m with --saturate and for cluster" help:"Longest time for the whole run."`
	// Tick is the least time between two passes over the senders; messages of
	// one connection that become due within a tick leave in one write.
	Tick time.Duration `json:"tick_ns" option:"tick" min:"1us" max:"1s" unset:"100us; 500us with --saturate" help:"Messages of one connection that are due within this time leave in one write."`

	ConnectRate        float64       `json:"connect_rate,omitempty" option:"connect-rate" min:"0" max:"1000000" unset:"as many as --connect-concurrency allows" help:"Connections that are opened per second."`
	ConnectConcurrency int           `json:"connect_concurrency,omitempty" option:"connect-concurrency" default:"64" min:"1" max:"20000" help:"Connections that are being opened at once."`
	ConnectTimeout     time.Duration `json:"connect_timeout_ns,omitempty" option:"connect-timeout" default:"10s" min:"1ms" max:"1h" help:"Limit for one connection, up to gateway.welcome."`
	// Sources are local addresses 127.0.0.1, 127.0.0.2, ... in turn.
	Sources int `json:"sources,omitempty" option:"sources" default:"8" min:"1" max:"250" help:"Number of local addresses that connections come from in turn: 127.0.0.1, 127.0.0.2 and so on."`

	// Saturate (fanout, unicast) raises the rate by steps until loss or a
	// growing backlog, and narrows the highest clean rate down to 5 %.
	Saturate     bool          `json:"saturate,omitempty" option:"saturate" help:"fanout, unicast: find the highest rate without loss and without a growing backlog."`
	StepDuration time.Duration `json:"step_duration_ns,omitempty" option:"step-duration" default:"2s" min:"10ms" max:"1h" help:"With --saturate: length of the measurement at each rate."`

	// Bare says that Target is not a gateway but a bare server of bench/limit,
	// the reference for a gateway: BareRelay, BareEcho, BareIdle; empty: a
	// gateway.
	Bare string `json:"bare,omitempty" option:"bare" enum:"relay,echo,idle" placeholder:"KIND" help:"Measure a plain server (bench/limit) in place of a gateway, for comparison. KIND is what that server does: relay passes each message to one other connection (unicast, commands), echo sends each message back (unicast), idle only keeps connections open (idle)."`

	AllowLoss   bool   `json:"allow_loss,omitempty" option:"allow-loss" help:"Accept loss that gateway.lost reported exactly; without this option any loss fails the run."`
	AllowRemote bool   `json:"allow_remote,omitempty" option:"allow-remote" help:"Load a gateway that is not on this machine."`
	Role        string `json:"role,omitempty" option:"role" enum:"device,frontend" unset:"frontend for idle, device for storm" help:"idle, storm: the role of the connections of --connections."`
	// Drop is how the connections of storm end: "reset" (RST) or "fin" (FIN
	// without a close frame).
	Drop   string `json:"drop,omitempty" option:"drop" enum:"reset,fin" unset:"reset" help:"storm: how connections end: reset sends a TCP RST, fin a TCP FIN, both without a close frame."`
	Prefix string `json:"prefix,omitempty" option:"prefix" unset:"a prefix of this run's own" help:"Prefix of device and user names."`

	// ServerPID is the gateway's process, for CPU and memory; 0: unknown.
	// AdminURL is its admin listener, for its goroutines.
	ServerPID int `json:"server_pid,omitempty" option:"server-pid" min:"0" placeholder:"PID" help:"Process id of the gateway, whose CPU time and memory are reported."`
	// FrontendPID is the process of the gateway at FrontendTarget: its CPU time
	// and memory are added.
	FrontendPID int    `json:"frontend_pid,omitempty" option:"frontend-pid" min:"0" placeholder:"PID" help:"Process id of the gateway at --frontend-target; its CPU time and memory are added."`
	AdminURL    string `json:"admin_url,omitempty" option:"admin-url" placeholder:"URL" help:"URL of the gateway's admin listener, to report the number of its goroutines."`

	DeviceToken   string `json:"-" option:"device-token" placeholder:"TOKEN" help:"Bearer token of devices."`
	FrontendToken string `json:"-" option:"frontend-token" placeholder:"TOKEN" help:"Bearer token of front ends."`

	// Label is the name of the case in the report; empty: none.
	Label string `json:"-" option:"label" help:"Name of the case in the report; compare groups reports by this name."`
	// Progress gets a line that overwrites itself; nil: none.
	Progress io.Writer `json:"-"`
}

// Limits that are not part of an option's declaration.
const (
	maxPairs         = 4 << 20 // receivers × streams, each with a state of its own
	maxRate          = 50e6
	maxFrame         = 1 << 20
	maxLabel         = 200
	maxCommandsARun  = 100_000_000
	telemetryPayload = 128
)

// withDefaults returns o with every zero value replaced by the scenario's
// default.
func (o Options) withDefaults() Options {
	type defaults struct {
		devices, frontends, connections, samples, size int
		rate                                           float64
		role                                           string
	}
	d := map[string]defaults{
		ScenarioFanout:    {devices: 1, frontends: 200, size: telemetryPayload, rate: 250},
		ScenarioUnicast:   {devices: 200, frontends: 200, size: 128, rate: 10000},
		ScenarioTelemetry: {devices: 1, frontends: 20, samples: 10, rate: 10000},
		ScenarioCommands:  {devices: 10, frontends: 10, size: 128, rate: 1000},
		ScenarioIdle:      {connections: 10000, role: "frontend"},
		ScenarioStorm:     {devices: 10, frontends: 10, connections: 5000, size: 128, rate: 1000, role: "device"},
		ScenarioCluster:   {devices: 20, frontends: 20, size: 128, rate: 500},
	}[o.Scenario]
	if o.Saturate {
		// Low enough to be clean on any machine, high enough for a short search.
		d.rate = 2000
	}
	option.Fill(&o)
	orInt(&o.Devices, d.devices)
	orInt(&o.Frontends, d.frontends)
	orInt(&o.Connections, d.connections)
	orInt(&o.Size, d.size)
	orFloat(&o.Rate, d.rate)
	if o.Scenario == ScenarioFanout && o.Samples == 0 {
		o.Samples = (o.Size - headerSize) / (valueSize * o.Channels)
	}
	orInt(&o.Samples, d.samples)
	if o.CommandRate > 0 {
		orInt(&o.Size, 128)
	}
	if o.Scenario == ScenarioUnicast || o.Bare == BareRelay {
		o.Devices = o.Frontends
	}
	if o.Role == "" {
		o.Role = d.role
	}
	if o.Drop == "" && o.Scenario == ScenarioStorm {
		o.Drop = "reset"
	}
	orDuration(&o.Warmup, 500*time.Millisecond)
	if o.Saturate {
		orDuration(&o.Tick, 500*time.Microsecond)
	}
	orDuration(&o.Tick, 100*time.Microsecond)
	if o.Timeout == 0 {
		o.Timeout = o.Duration + o.Warmup + time.Minute
		if o.Saturate || o.Scenario == ScenarioCluster {
			o.Timeout = 5 * time.Minute
		}
	}
	return o
}

// optionError names a bad option, its limit and what to do.
type optionError struct{ option, problem string }

func (e *optionError) Error() string { return fmt.Sprintf("bench: option %s: %s", e.option, e.problem) }

// knowsProcess reports whether the gateway's CPU time and memory can be read.
func (o *Options) knowsProcess() bool { return o.ServerPID > 0 || o.FrontendPID > 0 }

// check refuses options that cannot be run. o has its defaults.
func (o *Options) check() error {
	bad := func(option, format string, args ...any) error {
		return &optionError{option, fmt.Sprintf(format, args...)}
	}
	if err := option.Check(o); err != nil {
		return err
	}
	known := false
	for _, s := range Scenarios {
		known = known || s == o.Scenario
	}
	switch {
	case !known:
		return bad("scenario", "%q is unknown; use one of %v", o.Scenario, Scenarios)
	case o.allDevices()*o.Frontends > maxPairs && o.fansOut():
		return bad("devices × frontends", "%d streams to verify, at most %d; lower one of them", o.allDevices()*o.Frontends, maxPairs)
	case o.CommandRate > 0 && !o.fansOut():
		return bad("command-rate", "only for fanout and telemetry; the others take their message rate from --rate")
	case o.CommandDevices > 0 && o.CommandRate == 0:
		return bad("command-devices", "they would get nothing; set --command-rate")
	case o.Saturate && o.Scenario != ScenarioFanout && o.Scenario != ScenarioUnicast:
		return bad("saturate", "only for fanout and unicast")
	case o.Saturate && o.AllowLoss:
		return bad("allow-loss", "contradicts saturate, which looks for the highest rate without loss; drop one of them")
	case o.Scenario == ScenarioCluster && (o.FrontendTarget == "" || o.FrontendTarget == o.Target):
		return bad("frontend-target", "cluster needs another node there; give its address")
	case o.Redis != "" && o.Scenario != ScenarioCluster:
		return bad("redis-addr", "only for cluster")
	case !o.bareFits():
		return bad("bare", "%q does not go with %s; use relay for unicast and commands, echo for unicast, idle for idle", o.Bare, o.Scenario)
	case len(o.Prefix) > 64:
		return bad("prefix", "%d bytes, at most 64 allowed; shorten it", len(o.Prefix))
	case len(o.Label) > maxLabel:
		return bad("label", "%d bytes, at most %d allowed; shorten it", len(o.Label), maxLabel)
	case o.FrontendPID > 0 && o.FrontendTarget == "":
		return bad("frontend-pid", "is for the gateway at --frontend-target, which is not set")
	}
	return o.checkTraffic(bad)
}

func (o *Options) checkTraffic(bad func(option, format string, args ...any) error) error {
	if o.fansOut() {
		frame := headerSize + o.Samples*o.Channels*valueSize
		switch {
		case o.Samples < 1 || o.Samples > 65535:
			return bad("samples", "%d a frame must lie between 1 and 65535", o.Samples)
		case frame > maxFrame:
			return bad("samples", "a frame would have %d bytes, at most %d allowed; lower samples or channels", frame, maxFrame)
		case o.Scenario == ScenarioFanout && frame != o.Size:
			return bad("size", "%d bytes is no telemetry frame: it takes %d + %d × samples; use %d", o.Size, headerSize, valueSize*o.Channels, frame)
		}
	}
	if o.hasText() && o.textSize() < minTextPayload {
		return bad("size", "%d bytes of payload, at least %d needed for the check fields", o.textSize(), minTextPayload)
	}
	total := (o.Duration + o.Warmup).Seconds() * o.commandsPerSecond()
	if total > maxCommandsARun {
		return bad("rate", "%.0f commands in one run, at most %d; lower rate or duration", total, maxCommandsARun)
	}
	if o.Scenario != ScenarioIdle {
		if o.Devices < 1 || o.Frontends < 1 {
			return bad("devices/frontends", "at least one of each is needed")
		}
		if o.Rate == 0 {
			return bad("rate", "must be above 0")
		}
	} else if o.Connections < 1 {
		return bad("connections", "at least one is needed")
	}
	return nil
}

// bareFits reports whether a bare server, if chosen, supports the scenario.
func (o *Options) bareFits() bool {
	switch o.Bare {
	case "":
		return true
	case BareRelay:
		return o.Scenario == ScenarioUnicast || o.Scenario == ScenarioCommands
	case BareEcho:
		return o.Scenario == ScenarioUnicast
	case BareIdle:
		return o.Scenario == ScenarioIdle
	}
	return false
}

// fansOut reports whether telemetry goes to every front end.
func (o *Options) fansOut() bool {
	return o.Scenario == ScenarioFanout || o.Scenario == ScenarioTelemetry
}

// hasText reports whether text messages with check fields are sent.
func (o *Options) hasText() bool {
	return o.CommandRate > 0 || o.Scenario == ScenarioUnicast || o.Scenario == ScenarioCluster || o.commandsPerSecond() > 0
}

// textSize is the payload size of text messages. In fanout Size is the size of
// the telemetry frame, and the additional commands have a fixed size.
func (o *Options) textSize() int {
	if o.Scenario == ScenarioFanout {
		return telemetryPayload
	}
	return o.Size
}

func (o *Options) commandsPerSecond() float64 {
	switch o.Scenario {
	case ScenarioCommands, ScenarioStorm, ScenarioCluster:
		return o.Rate
	}
	return o.CommandRate
}

// framesPerSecond is the telemetry frame rate of all devices together.
func (o *Options) framesPerSecond() float64 {
	perDevice := o.Rate
	if o.Scenario == ScenarioTelemetry {
		perDevice = o.Rate / float64(o.Samples)
	}
	return perDevice * float64(o.Devices)
}

// connections is the number of sockets that the run holds at once.
func (o *Options) connections() int {
	switch o.Scenario {
	case ScenarioIdle:
		return o.Connections
	case ScenarioStorm:
		return o.Connections + o.Devices + o.Frontends
	}
	return o.allDevices() + o.Frontends
}

// allDevices is the number of all devices.
func (o *Options) allDevices() int { return o.Devices + o.CommandDevices }

func orInt(p *int, d int) {
	if *p == 0 {
		*p = d
	}
}

func orFloat(p *float64, d float64) {
	if *p == 0 {
		*p = d
	}
}

func orDuration(p *time.Duration, d time.Duration) {
	if *p == 0 {
		*p = d
	}
}
