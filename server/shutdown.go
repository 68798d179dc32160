package server

import (
	"cmp"
	"context"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Shutdown drains the gateway: it stops accepting, tells every session
// gateway.closing and then 1001 behind what is queued, waits for them to leave
// until ctx ends, and ends everything. It returns ctx's error when somebody
// had to be cut off. On a server that does not run it does nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.running.Load() || s.stopping.Swap(true) {
		return nil
	}
	s.admission.Drain()
	s.loop.CloseListeners()
	s.router.AnnounceClosing(s.opts.RetryAfter)
	s.closeDevices(ctx)
	// The devices have been released, and what was under way has had its time.
	// Whoever waits for a device of another node can still be told that it waits
	// in vain.
	s.router.Leave()
	err := cmp.Or(s.manager.Stop(ctx), s.loop.AwaitRequests(ctx))

	// What is left are half-open handshakes and idle connections.
	cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = cmp.Or(err, s.loop.Stop(cut))
	s.admission.Close()
	if s.described != nil {
		s.described.Close()
	}
	s.admin.Close()
	return err
}

// settleTime is for what is under way when the devices are closed: answers that
// have been read already or come from another node, commands of front ends that
// do not know yet.
const settleTime = 100 * time.Millisecond

// closeDevices closes the devices before the front ends. So a front end that
// waits for a device, or commands one now, gets the outcome before its own
// session ends.
func (s *Server) closeDevices(ctx context.Context) {
	closed := false
	for _, sess := range s.manager.Sessions() {
		if sess.Role() == session.RoleDevice {
			sess.Close(protocol.CloseGoingAway, "the gateway is shutting down")
			closed = true
		}
	}
	if !closed && s.bus.Self() == 0 {
		return
	}
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case <-ctx.Done():
	case <-settle.C:
	}
}
