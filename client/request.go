package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/labgate/labgate/protocol"
)

// answerGrace is how much longer than the command's timeout the client waits
// for the gateway to say that the timeout has passed.
const answerGrace = 2 * time.Second

// CommandOption is an option of one command.
type CommandOption func(*commandOptions)

type commandOptions struct {
	urgent  bool
	timeout time.Duration
}

// Urgent makes the command overtake everything that is queued for the device.
// Use Urgent to stop a machine.
func Urgent() CommandOption { return func(o *commandOptions) { o.urgent = true } }

// Timeout is how long the gateway waits for the device's answer, between 1 ms
// and 10 minutes. Without this option the gateway waits until the context's
// deadline, or 10 s if the context has none.
func Timeout(d time.Duration) CommandOption { return func(o *commandOptions) { o.timeout = d } }

// Command sends a command to a device and waits for its answer. The payload is
// nil, a json.RawMessage, which is sent unchanged, or any value that
// encoding/json accepts.
//
// The command is sent at most once, and is never kept for a later connection.
// The error is a *CommandRefusedError if the device answered that it refused the
// command or failed to carry it out ("ok": false in the payload); then the answer is
// returned, too. The error is a *GatewayError if the gateway refused or gave up the command
// (device_offline, device_disconnected, timeout, overloaded, ...),
// ErrNotConnected if there is no connection, ErrConnectionLost if the
// connection was lost before the answer, ErrNoAnswer if the gateway did not
// answer, or the context's error.
func (f *Frontend) Command(ctx context.Context, deviceID, typ string, payload any, opts ...CommandOption) (protocol.Message, error) {
	var o commandOptions
	for _, opt := range opts {
		opt(&o)
	}
	if !protocol.ValidName(deviceID) {
		return protocol.Message{}, nameError("device id", deviceID)
	}
	if err := ctx.Err(); err != nil {
		return protocol.Message{}, err
	}
	timeout, err := commandTimeout(ctx, o.timeout)
	if err != nil {
		return protocol.Message{}, err
	}
	m, err := protocol.NewMessage(typ, payload)
	if err != nil {
		return protocol.Message{}, err
	}
	m.Dst, m.Urgent, m.TimeoutMS = deviceID, o.urgent, int(timeout.Milliseconds())
	answer, err := f.request(ctx, m, timeout+answerGrace)
	if err != nil {
		return answer, err
	}
	if reason, refused := protocol.Refusal(answer.Payload); refused {
		return answer, &CommandRefusedError{Device: deviceID, Type: typ, Reason: reason}
	}
	return answer, nil
}

// commandTimeout is the timeout to send, in whole milliseconds.
func commandTimeout(ctx context.Context, asked time.Duration) (time.Duration, error) {
	const most = protocol.MaxTimeoutMS * time.Millisecond
	deadline, ok := ctx.Deadline()
	switch {
	case asked < 0 || asked > most:
		return 0, fmt.Errorf("client: timeout %v is out of range, must be 1ms to %v", asked, most)
	case asked > 0:
		return max(asked, time.Millisecond), nil
	case ok:
		return min(max(time.Until(deadline), time.Millisecond), most), nil
	}
	return protocol.DefaultTimeoutMS * time.Millisecond, nil
}

// pendingRequest is a request that waits for its answer.
type pendingRequest struct {
	from   string // the device that was asked, "" for the gateway
	result chan<- outcome
}

// outcome ends a pending request.
type outcome struct {
	answer protocol.Message
	err    error
}

// request sends a message with a new id and waits for the message whose re is
// that id.
func (f *Frontend) request(ctx context.Context, m protocol.Message, patience time.Duration) (protocol.Message, error) {
	m.ID = f.newID()
	// The order is epoch, entry, message. When the connection ends in between,
	// either failPending finds the entry, or the queue refuses the message. So
	// the message is never sent on the next connection.
	epoch, err := f.link.queue.present()
	if err != nil {
		return protocol.Message{}, err
	}
	result := make(chan outcome, 1)
	f.mu.Lock()
	f.pending[m.ID] = pendingRequest{from: m.Dst, result: result}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.pending, m.ID)
		f.mu.Unlock()
	}()
	if err := f.link.sendIn(epoch, m); err != nil {
		return protocol.Message{}, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-result:
		return r.answer, r.err
	case <-ctx.Done():
		return protocol.Message{}, ctx.Err()
	case <-timer.C:
		return protocol.Message{}, ErrNoAnswer
	}
}

// resolve passes an answer to its request, and returns false if no request
// waits for this answer.
func (f *Frontend) resolve(e *protocol.Envelope) bool {
	f.mu.Lock()
	request, ok := f.pending[string(e.Re)]
	// An answer comes from the device that was asked, or from the gateway.
	if src := string(e.Src); !ok || src != "" && src != request.from {
		f.mu.Unlock()
		return false
	}
	delete(f.pending, string(e.Re))
	f.mu.Unlock()
	r := outcome{answer: e.Message()}
	if string(e.Type) == protocol.TypeError {
		var p protocol.Error
		if err := json.Unmarshal(e.Payload, &p); err != nil {
			p.Message = "the gateway's error cannot be read: " + err.Error()
		}
		r = outcome{err: &GatewayError{Code: p.Code, Message: p.Message}}
	}
	request.result <- r
	return true
}

// failPending ends all pending requests when their connection has ended.
func (f *Frontend) failPending(cause error) {
	err := fmt.Errorf("%w: %w", ErrConnectionLost, cause)
	if errors.Is(cause, ErrClosed) {
		err = ErrClosed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, request := range f.pending {
		delete(f.pending, id)
		request.result <- outcome{err: err} // never blocks: the channel has room for its one outcome
	}
}
