package server

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Options configures a Server. Zero values take the declared defaults, but for
// those that mean something, such as no limit (option.Fill).
type Options struct {
	ListenOptions
	admission.LimitOptions
	session.RateOptions
	admission.CredentialOptions
	eventloop.TLSOptions
	session.LivenessOptions
	session.QueueOptions
	eventloop.LoopOptions

	// Bus joins this gateway with others; nil for one alone. The server joins
	// and leaves it.
	Bus federation.Bus

	// certificateInterval is how often the files of the TLS certificate are
	// looked at; 0: the default.
	certificateInterval time.Duration

	// Version is shown by /healthz and the metrics.
	Version string
	// Logger takes the log; the zero value logs nothing.
	Logger zerolog.Logger
	// Events is told what happens, beside the log; nil for nobody.
	Events events.Listener
}

// withDefaults fills in the zero fields and checks the others. An error names
// the option as the command line does.
func (o Options) withDefaults() (Options, error) {
	option.Fill(&o)
	if err := option.Check(&o); err != nil {
		return o, err
	}
	setDefault(&o.Version, "unknown")
	for _, prepare := range []func() error{
		o.prepareListen,
		func() error { return o.LoopOptions.Check(&o.TLSOptions) },
		o.checkAccess,
		o.LimitOptions.Check,
		o.CheckLiveness,
	} {
		if err := prepare(); err != nil {
			return o, err
		}
	}
	setDefault(&o.Flushers, o.Pollers)
	return o, nil
}

// boundConnections lowers MaxConnections to what the file descriptors allow, and
// says so in the log if somebody might not expect that.
func (o *Options) boundConnections(capacity eventloop.Capacity) {
	most := capacity.Connections
	warning := func() *zerolog.Event {
		return o.Logger.Warn().Int("possible", most).Int("open_files", capacity.OpenFiles)
	}
	switch {
	case o.MaxConnections > most:
		warning().Int("wanted", o.MaxConnections).Msg("--max-connections is more than the limit of open files allows; raise the limit with ulimit -n or, with systemd, LimitNOFILE")
	case o.MaxConnections > 0:
		return
	case capacity.Few():
		warning().Msg("the limit of open files leaves room for few connections; raise the limit, for example with ulimit -n 4096 or, with systemd, LimitNOFILE=4096, or say with --max-connections how many are enough")
	}
	o.MaxConnections = most
}

// setDefault gives a zero value its default.
func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
