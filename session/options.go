package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/option"
)

// LivenessOptions say after which silence a session is closed, and which of two
// connections of one device is closed.
type LivenessOptions struct {
	// HeartbeatInterval is the time between pings.
	HeartbeatInterval time.Duration `option:"heartbeat-interval" default:"30s" min:"50ms" max:"1h" group:"live" help:"Time between pings."`
	// HeartbeatTimeout closes a session with 4002 when no byte has arrived for this
	// time. It must be longer than HeartbeatInterval.
	HeartbeatTimeout time.Duration `option:"heartbeat-timeout" default:"90s" min:"100ms" max:"24h" group:"live" help:"A session that has sent nothing for this long, not even an answer to a ping, is closed with 4002. Must be longer than --heartbeat-interval."`
	// IdleTimeout closes a session with 4003 when no application message was
	// received or sent for this time.
	IdleTimeout time.Duration `option:"idle-timeout" default:"10m" min:"0s" max:"1000h" zero:"never" group:"live" help:"A session without an application message in either direction for this long is closed with 4003."`
	// RefuseDuplicate refuses the newer connection when a device connects twice.
	// Otherwise the older connection is closed.
	RefuseDuplicate bool `option:"duplicate-device" enum:"replace,refuse" default:"replace" group:"auth" help:"When a device id connects twice: replace closes the older connection with 4000, refuse rejects the newer with 4007."`
}

// CheckLiveness checks the relation of HeartbeatTimeout and HeartbeatInterval.
func (o *LivenessOptions) CheckLiveness() error {
	if o.HeartbeatTimeout <= o.HeartbeatInterval {
		return fmt.Errorf("--heartbeat-timeout %v must be longer than --heartbeat-interval %v, or every quiet peer is taken for dead", o.HeartbeatTimeout, o.HeartbeatInterval)
	}
	return nil
}

// QueueOptions limit the bytes in one receiver's queues, and the time that
// telemetry waits there.
type QueueOptions struct {
	// FlushInterval is the time that telemetry may wait for more telemetry, so that
	// both leave in one write; 0 flushes at once.
	FlushInterval time.Duration `option:"flush-interval" default:"1ms" min:"0s" max:"1s" zero:"never wait" group:"queue" help:"Telemetry that arrives shortly after other telemetry waits up to this long, so that several frames leave in one write. A shorter interval gives lower latency, a longer interval less CPU load. Under high load the wait grows up to four times. Telemetry leaves at once after a pause of this length, and when a quarter of --telemetry-bytes waits for a device with at most 16 receivers. Text messages never wait."`
	// Flushers is the number of goroutines that write for event-loop sessions. 0
	// means 1; package server sets it to the number of pollers.
	Flushers int `option:"flushers" default:"0" min:"0" max:"256" zero:"as many as pollers" group:"queue" help:"Number of goroutines that write telemetry and broadcasts."`
	// ControlBytes limits the bytes in a session's urgent and control queues. A
	// larger message fits when both queues are empty.
	ControlBytes int `option:"control-bytes" default:"1048576" min:"4096" max:"1073741824" placeholder:"BYTES" group:"queue" help:"Bytes of text messages that may wait for one receiver; a receiver with more is closed with 4004."`
	// TelemetryBytes limits the bytes in a session's telemetry queue.
	TelemetryBytes int `option:"telemetry-bytes" default:"1048576" min:"4096" max:"1073741824" placeholder:"BYTES" group:"queue" help:"Bytes of telemetry that may wait for one receiver. --telemetry-overflow says what happens to more."`
	// Overflow says what happens when the telemetry queue is full.
	Overflow Overflow `option:"telemetry-overflow" default:"drop-oldest" enum:"drop-oldest,close" group:"queue" help:"What happens when more telemetry would wait than --telemetry-bytes: drop-oldest drops the oldest telemetry and reports exactly the lost samples to the receiver; close closes the receiver's session with 4004."`
	// InflightBytes limits the bytes that a session has passed to the transport and
	// the kernel has not taken yet. The last frame may exceed the limit.
	InflightBytes int `option:"inflight-bytes" default:"262144" min:"4096" max:"1073741824" placeholder:"BYTES" group:"queue" help:"Bytes that the gateway may have written to one receiver that are not sent yet. Urgent messages cannot overtake them: with a smaller value a stop command arrives sooner over a slow link."`
}

// RateOptions limit what each session may send, by role.
type RateOptions struct {
	// MaxMessageRate is the number of text messages and pings a second.
	MaxMessageRate float64 `option:"max-message-rate" default:"5000" min:"0" max:"1000000" zero:"no limit" placeholder:"RATE" group:"net" help:"Text messages and pings a second that one session may send. Further messages are refused with rate_limited, and a session that continues is closed with 4006. Telemetry does not count."`
	// MessageBurst is the number of text messages and pings that may arrive at once.
	MessageBurst int `option:"message-burst" default:"0" min:"0" max:"1048576" zero:"twice the rate" group:"net" help:"Text messages and pings that one session may send at once, ahead of its rate."`
	// DeviceMessageRate and FrontendMessageRate replace MaxMessageRate for one role;
	// nil: MaxMessageRate.
	DeviceMessageRate   *float64 `option:"device-message-rate" unset:"--max-message-rate" min:"0" max:"1000000" zero:"no limit" placeholder:"RATE" group:"net" help:"Text messages and pings a second that one device may send."`
	FrontendMessageRate *float64 `option:"frontend-message-rate" unset:"--max-message-rate" min:"0" max:"1000000" zero:"no limit" placeholder:"RATE" group:"net" help:"Text messages and pings a second that one front end may send."`
	// DeviceByteRate and FrontendByteRate are bytes of payload a second.
	DeviceByteRate   float64 `option:"device-byte-rate" default:"0" min:"0" max:"1099511627776" zero:"no limit" placeholder:"BYTES" group:"net" help:"Bytes a second that one device may send, in telemetry and text messages together; a burst may have twice as many. Further messages are refused with rate_limited, and a device that continues is closed with 4006."`
	FrontendByteRate float64 `option:"frontend-byte-rate" default:"67108864" min:"0" max:"1099511627776" zero:"no limit" placeholder:"BYTES" group:"net" help:"Bytes a second that one front end may send; a burst may have twice as many. Further messages are refused with rate_limited, and a front end that continues is closed with 4006."`
}

// Rates returns the limits of each role.
func (o *RateOptions) Rates() (device, frontend Rate) {
	device = Rate{Messages: o.MaxMessageRate, Burst: o.MessageBurst, Bytes: o.DeviceByteRate}
	frontend = Rate{Messages: o.MaxMessageRate, Burst: o.MessageBurst, Bytes: o.FrontendByteRate}
	if o.DeviceMessageRate != nil {
		device.Messages = *o.DeviceMessageRate
	}
	if o.FrontendMessageRate != nil {
		frontend.Messages = *o.FrontendMessageRate
	}
	return device, frontend
}

// Options configures a Manager. A zero field takes the default that is declared
// with the field. NewManager refuses only values that it cannot work with. A caller
// that gets options from a user checks the declared bounds with option.Check.
type Options struct {
	LivenessOptions
	QueueOptions
	// EchoBytes replaces ControlBytes for echo sessions; ControlBytes.
	EchoBytes int
	// CloseGrace is the time in which a closing session must send its close frame
	// and receive the peer's close frame; 2 s. While the Manager stops, the time
	// begins when the peer has received all queued frames.
	CloseGrace time.Duration
	// DeviceRate and FrontendRate limit the messages of each session of the role;
	// no limit.
	DeviceRate, FrontendRate Rate

	// Callbacks receive the events of sessions; required.
	Callbacks Callbacks

	// Node is the node's number. Unless Node is 0, every session id begins with
	// it, in four bytes, big-endian. Then a session id says which node has the
	// session.
	Node uint32

	// Logger gets the Manager's log lines; the zero value logs nothing.
	Logger zerolog.Logger
}

// withDefaults fills in the zero fields and checks the others.
func (o Options) withDefaults() (Options, error) {
	if o.Callbacks == nil {
		return o, errors.New("session: Options.Callbacks is required")
	}
	option.Fill(&o.LivenessOptions, &o.QueueOptions)
	setDefault(&o.CloseGrace, 2*time.Second)
	setDefault(&o.Flushers, 1)
	setDefault(&o.EchoBytes, max(o.ControlBytes, 0))
	for role, r := range map[Role]*Rate{RoleDevice: &o.DeviceRate, RoleFrontend: &o.FrontendRate} {
		var err error
		if *r, err = r.withDefaults(); err != nil {
			return o, fmt.Errorf("session: %s: %w", role, err)
		}
	}
	if err := o.CheckLiveness(); err != nil {
		return o, fmt.Errorf("session: %w", err)
	}
	for name, d := range map[string]time.Duration{"heartbeat interval": o.HeartbeatInterval, "idle timeout": o.IdleTimeout, "flush interval": o.FlushInterval, "close grace": o.CloseGrace} {
		if d < 0 {
			return o, fmt.Errorf("session: %s %v is negative", name, d)
		}
	}
	for name, n := range map[string]int{"flushers": o.Flushers, "control bytes": o.ControlBytes, "echo bytes": o.EchoBytes, "telemetry bytes": o.TelemetryBytes, "in-flight bytes": o.InflightBytes} {
		if n < 0 {
			return o, fmt.Errorf("session: %s %d is negative", name, n)
		}
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
