package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/labgate/labgate/cluster"
	"github.com/labgate/labgate/server"
)

// ServeCmd runs the gateway.
type ServeCmd struct {
	CheckConfig bool `option:"check-config" help:"Check options, files, addresses and Redis, print the result and exit."`

	Server server.Options  `options:""`
	Redis  cluster.Options `options:""`

	DrainTimeout time.Duration `option:"drain-timeout" default:"30s" min:"1ms" max:"24h" group:"net" help:"After SIGTERM or SIGINT, sessions have this long to receive their queued messages and to close; after that their connections are cut. A second signal ends the gateway at once."`
}

// Run serves until ctx ends, then drains.
func (c *ServeCmd) Run(ctx context.Context, out *Streams) error {
	ctx, signals := catchSignals(ctx, out.Log)
	defer signals.stop()
	bus, err := c.prepare(out)
	if err != nil {
		return err
	}
	server.SetEngineLogger(out.Log)
	s, err := server.New(c.Server)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		if err := c.check(ctx, bus); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out.Out, "configuration is good")
		return err
	}
	c.spareProcessors(s)
	defer collectEarly(bus != nil)()
	if err := s.Start(); err != nil {
		return explainListen(err)
	}
	signals.reloadWith(s.Reload)
	c.warn(out, s)
	out.Log.Info().Str("listen", s.Addr()).Str("admin", s.AdminAddr()).Str("version", buildVersion()).Str("node", c.Server.Node).Msg("ready")
	<-ctx.Done()

	out.Log.Info().Int("sessions", s.Manager().Len()).Dur("drain_timeout", c.DrainTimeout).Msg("draining; a second signal ends at once")
	drain, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	if err := s.Shutdown(drain); err != nil {
		out.Log.Warn().Err(err).Msg("some sessions were cut off")
	}
	out.Log.Info().Msg("stopped")
	return nil
}

// prepare sets the fields that are not options, and creates the bus to other
// nodes if --redis is set; the bus does not connect yet.
func (c *ServeCmd) prepare(out *Streams) (*cluster.Bus, error) {
	c.Server.Version, c.Server.Logger = buildVersion(), out.Log
	if c.Server.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("host name: %w; give --node", err)
		}
		c.Server.Node = host
	}
	bus, err := newBus(c.Redis, &c.Server)
	if bus != nil {
		c.Server.Bus = bus
	}
	return bus, err
}

// warn logs a warning if devices or front ends on the network can connect
// without a credential.
func (c *ServeCmd) warn(out *Streams, s *server.Server) {
	if s.Exposed() {
		out.Log.Warn().Str("listen", s.Addr()).Msg("INSECURE: anybody who reaches this address can connect and command every device; --insecure allows it. Give --device-token-file and --frontend-token-file, or keys for JWTs, and leave --insecure away")
	}
	if c.Server.DebugEcho {
		out.Log.Warn().Str("endpoint", "/ws/echo").Msg("--debug-echo is on: anybody who may connect can have this gateway send back whatever it is sent, up to 16 MiB a message without --max-message and without a rate limit; it is for tests only, leave it off in a laboratory")
	}
}

// explainListen adds advice to the error of an address that the gateway cannot
// listen on.
func explainListen(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens there, perhaps another gateway: end it, or choose another address, for example --listen 127.0.0.1:9080 --admin-listen 127.0.0.1:9081, or by the variables LABGATE_LISTEN and LABGATE_ADMIN_LISTEN", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; this machine has no such address", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)", err)
	}
	return err
}

// spareProcessors raises GOMAXPROCS above the number of pollers: a poller that
// sleeps in the kernel occupies a processor of Go's scheduler, and without a
// free one other goroutines would wait until the scheduler takes it back.
func (c *ServeCmd) spareProcessors(s *server.Server) {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= s.Pollers() {
		runtime.GOMAXPROCS(s.Pollers() + 1)
	}
}
