package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/rs/zerolog"
)

// gatewaySignals handles the signals of signal(7) that end a process by
// default, for labgate serve. SIGINT and SIGTERM are main's. SIGHUP reads files
// again. SIGXCPU and SIGPWR announce that the gateway will be ended soon, so
// the gateway drains. SIGUSR1 and SIGUSR2 make other servers reopen their log
// files; here a line in the log says that they do nothing. SIGPIPE and SIGXFSZ
// are caused by a log without a reader or a full log file, SIGTTOU by a
// terminal that belongs to another process; these signals are ignored, and the
// write fails or succeeds. Go's runtime ignores SIGALRM, SIGVTALRM, SIGPROF,
// SIGIO and the real-time signals, and ends the process with a dump of all
// goroutines after SIGQUIT, SIGABRT and the signals of faults.
//
// Goroutines: run, from reloadWith to stop.
type gatewaySignals struct {
	log    zerolog.Logger
	hangup chan os.Signal
	unused chan os.Signal
	leave  chan os.Signal
	quit   chan struct{}
	wait   sync.WaitGroup
}

// catchSignals starts to handle signals. The context ends with ctx, or when
// SIGXCPU or SIGPWR arrives.
func catchSignals(ctx context.Context, log zerolog.Logger) (context.Context, *gatewaySignals) {
	// One pending signal of each kind is enough.
	s := &gatewaySignals{
		log: log, hangup: make(chan os.Signal, 1), unused: make(chan os.Signal, 1), leave: make(chan os.Signal, 1), quit: make(chan struct{}),
	}
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ, syscall.SIGTTOU)
	signal.Notify(s.hangup, syscall.SIGHUP)
	signal.Notify(s.unused, syscall.SIGUSR1, syscall.SIGUSR2)
	signal.Notify(s.leave, syscall.SIGXCPU, syscall.SIGPWR)
	ctx, cancel := context.WithCancel(ctx)
	s.wait.Go(func() {
		defer cancel()
		select {
		case sig := <-s.leave:
			log.Warn().Stringer("signal", sig).Msg("the machine is about to end the gateway")
		case <-ctx.Done():
		case <-s.quit:
		}
	})
	return ctx, s
}

// reloadWith starts to call reload for each SIGHUP, including one that arrived
// before. reload returns how many files were read, and how many of them cannot
// be used.
func (s *gatewaySignals) reloadWith(reload func() (read, failed int)) {
	s.wait.Go(func() {
		for {
			select {
			case <-s.hangup:
				read, failed := reload()
				line := s.log.Info()
				if failed > 0 {
					line = s.log.Warn()
				}
				line.Int("files", read).Int("failed", failed).Msg("SIGHUP: credentials, certificate and descriptions were read again; options stay as they are until a restart")
			case sig := <-s.unused:
				s.log.Warn().Stringer("signal", sig).Msg("a signal without a meaning; SIGHUP reads credentials, certificate and descriptions again, SIGTERM drains")
			case <-s.quit:
				return
			}
		}
	})
}

// stop ends the goroutines. Ignored signals stay ignored, because the rest of
// the log is written after stop.
func (s *gatewaySignals) stop() {
	signal.Stop(s.unused)
	signal.Stop(s.leave)
	close(s.quit)
	s.wait.Wait()
}
