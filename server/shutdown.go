package server

import (
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
	if !s.running.Load() || s.draining.Swap(true) {
		return nil
	}
	closeAll(s.gates)
	s.router.AnnounceClosing(s.opts.RetryAfter)
	s.closeDevices(ctx)
	// The devices have been released, and what was under way has had its time.
	// Whoever waits for a device of another node can still be told that it waits
	// in vain.
	s.leaveBus()
	err := s.manager.Stop(ctx)
	if e := s.awaitRequests(ctx); e != nil && err == nil {
		err = e
	}

	// What is left are half-open handshakes and idle connections.
	cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if s.tlsServer != nil {
		_ = s.tlsServer.Close()
	}
	s.accepting.Wait()
	s.closeBlocking()
	s.engine.Cancel()
	if e := s.engine.Engine.Shutdown(cut); e != nil && err == nil {
		err = e
	}
	s.turns.close()
	s.readers.Wait()
	s.stopWatching()
	s.stopAdmin()
	return err
}

// settleTime is for what is under way when the devices are closed: answers that
// have been read already or come from another node, commands of front ends that
// do not know yet.
const settleTime = 100 * time.Millisecond

// closeDevices closes the devices before the front ends, so that whoever waits
// for a device, or commands one now, is told the outcome before its own session
// ends.
func (s *Server) closeDevices(ctx context.Context) {
	closed := false
	for _, sess := range s.manager.Sessions() {
		if sess.Role() == session.RoleDevice {
			sess.Close(protocol.CloseGoingAway, "the gateway is shutting down")
			closed = true
		}
	}
	if !closed && s.opts.Bus == nil {
		return
	}
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case <-ctx.Done():
	case <-settle.C:
	}
}

// awaitRequests waits until every request that is being handled was answered.
// No new one is admitted any more.
func (s *Server) awaitRequests(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for s.requests.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}
