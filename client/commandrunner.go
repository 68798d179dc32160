package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/protocol"
)

// maxUrgent is how many urgent commands may run at the same time.
const maxUrgent = 4

// ResultSuffix is added to a command's type to make the type of its answer.
const ResultSuffix = ".result"

// errBusy is the answer to a command beyond the limits.
var errBusy = errors.New("the device is busy; the command was not carried out")

// commandRunner runs the commands that a device receives. A commandRunner owns
// the worker goroutine, which runs from the first connection to the device's
// end, and up to maxUrgent goroutines for urgent commands; ended waits for all
// of them.
type commandRunner struct {
	link    *link
	handler func(context.Context, protocol.Message) (any, error)
	queue   chan command  // ordinary commands
	urgent  chan struct{} // a slot for each urgent command that is running
	workers sync.WaitGroup

	// Owned by the link's run goroutine.
	started bool
	ctx     context.Context // ends with the present connection
	cancel  context.CancelFunc

	refused atomic.Uint64
	expired atomic.Uint64
}

// command is a received command, and the data that its answer needs.
type command struct {
	msg    protocol.Message
	epoch  uint64 // of the connection it came from
	ctx    context.Context
	cancel context.CancelFunc
}

func newCommandRunner(l *link, handler func(context.Context, protocol.Message) (any, error), queued int) *commandRunner {
	return &commandRunner{
		link:    l,
		handler: handler,
		queue:   make(chan command, queued),
		urgent:  make(chan struct{}, maxUrgent),
	}
}

func (r *commandRunner) connected() {
	r.ctx, r.cancel = context.WithCancel(r.link.ctx)
	if !r.started {
		r.started = true
		r.workers.Go(r.work)
	}
}

func (r *commandRunner) disconnected() { r.cancel() }

// ended waits for all running commands. The link's context is done by then, and
// no message is received any more.
func (r *commandRunner) ended() { r.workers.Wait() }

// received starts or queues a command, and never waits.
func (r *commandRunner) received(m protocol.Message) {
	epoch, err := r.link.queue.present()
	if err != nil {
		return // the connection has just ended: an answer could not be sent
	}
	timeout := m.TimeoutMS
	if timeout == 0 {
		timeout = protocol.DefaultTimeoutMS
	}
	c := command{msg: m, epoch: epoch}
	c.ctx, c.cancel = context.WithTimeout(r.ctx, time.Duration(timeout)*time.Millisecond)
	if m.Urgent {
		select {
		case r.urgent <- struct{}{}:
			r.workers.Go(func() {
				defer func() { <-r.urgent }()
				r.carryOut(c)
			})
			return
		default:
		}
	} else {
		select {
		case r.queue <- c:
			return
		default:
		}
	}
	c.cancel()
	r.refused.Add(1)
	r.answer(c, nil, errBusy)
}

// work is the worker goroutine for ordinary commands.
func (r *commandRunner) work() {
	for {
		select {
		case <-r.link.ctx.Done():
			for len(r.queue) > 0 { // only this goroutine takes out
				c := <-r.queue
				c.cancel()
			}
			return
		case c := <-r.queue:
			if c.ctx.Err() != nil {
				r.expired.Add(1)
				c.cancel()
				continue
			}
			r.carryOut(c)
		}
	}
}

func (r *commandRunner) carryOut(c command) {
	defer c.cancel()
	result, err := r.call(c)
	r.answer(c, result, err)
}

func (r *commandRunner) call(c command) (result any, err error) {
	if r.handler == nil {
		return nil, errors.New("this device takes no commands")
	}
	defer func() {
		if v := recover(); v != nil {
			r.link.notePanic("OnCommand", v)
			result, err = nil, errors.New("the device failed while it carried out the command")
		}
	}()
	return r.handler(c.ctx, c.msg)
}

// answer sends the result of a command, if the command has an id and its
// connection still exists.
func (r *commandRunner) answer(c command, result any, err error) {
	if c.msg.ID == "" {
		return
	}
	m, buildErr := answerMessage(c.msg, result, err)
	if buildErr == nil {
		buildErr = r.link.sendIn(c.epoch, m)
	}
	if buildErr == nil || errors.Is(buildErr, ErrNotConnected) || errors.Is(buildErr, ErrClosed) {
		return
	}
	// The result cannot be sent, for instance because it is too large: send an
	// error.
	r.link.log.Warn().Err(buildErr).Str("type", c.msg.Type).Msg("result cannot be sent")
	if m, err := answerMessage(c.msg, nil, fmt.Errorf("the result cannot be sent: %w", buildErr)); err == nil {
		_ = r.link.sendIn(c.epoch, m) // the queue is full: the command times out
	}
}

func answerMessage(cmd protocol.Message, result any, err error) (protocol.Message, error) {
	type failure struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	type success struct {
		OK bool `json:"ok"`
	}
	switch m := result.(type) {
	case protocol.Message:
		if err == nil {
			m.Re, m.Urgent = cmd.ID, m.Urgent || cmd.Urgent
			return m, nil
		}
	case nil:
		result = success{OK: true}
	}
	if err != nil {
		result = failure{Error: err.Error()}
	}
	typ := cmd.Type
	if len(typ)+len(ResultSuffix) <= protocol.MaxTypeLen {
		typ += ResultSuffix
	}
	m, buildErr := protocol.NewMessage(typ, result)
	m.Re, m.Urgent = cmd.ID, cmd.Urgent
	return m, buildErr
}
