package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// Options configures a Manager. A zero field takes the default named with it.
type Options struct {
	// HeartbeatInterval is the time between pings; 30 s.
	HeartbeatInterval time.Duration
	// HeartbeatTimeout closes a session with 4002 when nothing, no byte and no
	// pong, was heard for that long; 90 s.
	HeartbeatTimeout time.Duration
	// IdleTimeout closes a session with 4003 when no application message went
	// in either direction for that long; 0 means never.
	IdleTimeout time.Duration
	// FlushInterval is how long telemetry may wait for company; 0 flushes at
	// once. The shipped default of 1 ms is the command's, not this struct's.
	FlushInterval time.Duration
	// Flushers is the number of goroutines that write for event-loop sessions;
	// 1.
	Flushers int
	// ControlBytes bounds a session's urgent and control messages that wait;
	// 1 MiB. A single larger message passes when nothing else waits.
	ControlBytes int
	// EchoBytes is the same for an echo session; ControlBytes.
	EchoBytes int
	// TelemetryBytes bounds a session's telemetry that waits; 1 MiB.
	TelemetryBytes int
	// InflightBytes bounds what was handed to the transport and not taken by
	// the kernel, give or take one frame; 256 KiB.
	InflightBytes int
	// Overflow says what happens when the telemetry lane is full.
	Overflow Overflow
	// RefuseDuplicate keeps the older connection of a device when a second one
	// comes, in place of the newer.
	RefuseDuplicate bool
	// CloseGrace is how long a closing session may take to send its close
	// frame and hear the peer's; 2 s. While the Manager stops it begins when the
	// peer has taken all that was queued.
	CloseGrace time.Duration
	// DeviceRate and FrontendRate limit what each session of that role may
	// send; no limit.
	DeviceRate, FrontendRate Rate

	// Callbacks are told of sessions and their messages; required.
	Callbacks Callbacks

	// Node, when it is not 0, stands big-endian in the first four bytes of every
	// session id, so that several gateways can tell whose a session is.
	Node uint32

	// Logger takes the Manager's log; the zero value logs nothing.
	Logger zerolog.Logger
}

// withDefaults fills in the zero fields and checks the others.
func (o Options) withDefaults() (Options, error) {
	if o.Callbacks == nil {
		return o, errors.New("session: Options.Callbacks is required")
	}
	setDuration(&o.HeartbeatInterval, 30*time.Second)
	setDuration(&o.HeartbeatTimeout, 90*time.Second)
	setDuration(&o.CloseGrace, 2*time.Second)
	setInt(&o.Flushers, 1)
	setInt(&o.ControlBytes, 1<<20)
	setInt(&o.EchoBytes, max(o.ControlBytes, 0))
	setInt(&o.TelemetryBytes, 1<<20)
	setInt(&o.InflightBytes, 256<<10)
	for role, r := range map[Role]*Rate{RoleDevice: &o.DeviceRate, RoleFrontend: &o.FrontendRate} {
		var err error
		if *r, err = r.withDefaults(); err != nil {
			return o, fmt.Errorf("session: %s: %w", role, err)
		}
	}
	if o.HeartbeatTimeout <= o.HeartbeatInterval {
		return o, fmt.Errorf("session: heartbeat timeout %v must be longer than the heartbeat interval %v, or every quiet peer is taken for dead", o.HeartbeatTimeout, o.HeartbeatInterval)
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

func setDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func setInt(n *int, def int) {
	if *n == 0 {
		*n = def
	}
}
