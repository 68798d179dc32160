package client

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// DeviceConfig describes a device. Only ID is required.
type DeviceConfig struct {
	ID       string // the device's name; see protocol.ValidName
	Type     string // kind of device, such as "tensile"
	Customer string
	Meta     map[string]string

	// Description says what the device is. The client sends it on each
	// connection, before OnConnect is called. If the gateway refuses it, OnMessage
	// gets the gateway.error, and Logger a warning. Nil for none.
	Description *description.Description

	// OnConnect is called for each connection, before its first message. Send
	// the device's state here.
	OnConnect func(*Device, protocol.Welcome)

	// OnCommand carries out a command: any message to this device that is not
	// the gateway's own. If the command has an id, the client sends an answer
	// of the type "<command>.result". Its payload is the value that OnCommand
	// returned ({"ok":true} for nil), or {"ok":false,"error":"..."} for an
	// error. If OnCommand returns a protocol.Message, that message is the
	// answer; the client only sets its Re.
	//
	// Ordinary commands run one at a time, in the order of their arrival; up to
	// MaxQueuedCommands wait. An urgent command runs at once, beside running
	// commands; up to four urgent commands run at the same time. A command
	// beyond these limits is answered with an error and does not run.
	//
	// The context ends when the command's timeout has passed, when the
	// command's connection is lost, and with Close, which waits for OnCommand
	// to return. A command that still waits then does not run: its sender has
	// already received an error.
	OnCommand func(context.Context, protocol.Message) (any, error)

	// MaxQueuedCommands is how many ordinary commands may wait. 0 means 64.
	MaxQueuedCommands int

	// OnMessage gets all messages that are not commands: messages of the
	// gateway, including gateway.error, and answers.
	OnMessage func(protocol.Message)
}

// Device is a device's connection to the gateway. Its methods may be called
// from any goroutine.
type Device struct {
	link     *link
	cfg      DeviceConfig
	commands *commandRunner
	streamed atomic.Bool       // a Stream is open
	describe *protocol.Message // gateway.describe, nil for none

	mu      sync.Mutex
	welcome protocol.Welcome // of the present or last connection
}

// DialDevice connects a device. See the package's documentation for what
// happens afterwards.
func DialDevice(ctx context.Context, cfg Config, dev DeviceConfig) (*Device, error) {
	if !protocol.ValidName(dev.ID) {
		return nil, nameError("DeviceConfig.ID", dev.ID)
	}
	if dev.MaxQueuedCommands == 0 {
		dev.MaxQueuedCommands = 64
	}
	query := url.Values{}
	for k, v := range map[string]string{"type": dev.Type, "customer": dev.Customer} {
		if v != "" {
			query.Set(k, v)
		}
	}
	for k, v := range dev.Meta {
		query.Set("meta."+k, v)
	}
	u, err := endpoint(cfg.URL, "device/"+dev.ID, query)
	if err != nil {
		return nil, err
	}
	d := &Device{link: newLink(cfg, u, dev.ID), cfg: dev}
	if d.describe, err = describeMessage(dev.Description); err != nil {
		return nil, err
	}
	d.commands = newCommandRunner(d.link, dev.OnCommand, dev.MaxQueuedCommands)
	if err := d.link.start(ctx, d); err != nil {
		return nil, err
	}
	return d, nil
}

// describeID is the id of gateway.describe, so that its answer can be told from
// other messages.
const describeID = "describe"

// describeMessage returns the message that sends a description, nil for none.
func describeMessage(d *description.Description) (*protocol.Message, error) {
	if d == nil {
		return nil, nil
	}
	m, err := protocol.NewMessage(protocol.TypeDescribe, d)
	if err != nil {
		return nil, fmt.Errorf("client: DeviceConfig.Description: %w", err)
	}
	if len(m.Payload) > description.MaxSize {
		return nil, fmt.Errorf("client: DeviceConfig.Description: %d bytes as JSON, at most %d allowed", len(m.Payload), description.MaxSize)
	}
	m.ID = describeID
	return &m, nil
}

// Send queues a message for all front ends, or for Dst if Dst is set. Send does
// not wait. The error is ErrNotConnected while there is no connection; nil
// means that the message will be sent unless the connection ends first.
func (d *Device) Send(m protocol.Message) error { return d.link.sendMessage(m) }

// SendUrgent is Send for a message that overtakes everything queued, in this
// client and in the gateway.
func (d *Device) SendUrgent(m protocol.Message) error {
	m.Urgent = true
	return d.link.sendMessage(m)
}

// Welcome is the gateway's greeting on the present or last connection.
func (d *Device) Welcome() protocol.Welcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.welcome
}

// Flush waits until everything queued, telemetry included, is written to the
// network.
func (d *Device) Flush(ctx context.Context) error { return d.link.flush(ctx) }

// Stats returns the counters.
func (d *Device) Stats() Stats { return d.link.stats(d.commands) }

// Done is closed when the device has ended for good: after Close, or when the
// gateway forbids a reconnect.
func (d *Device) Done() <-chan struct{} { return d.link.done }

// Err returns why the device has ended for good: ErrClosed after Close, and nil
// before the end.
func (d *Device) Err() error { return d.link.ended() }

// Close sends queued messages for at most a second, closes the connection, and
// waits until all goroutines, including OnCommand, have ended. Close may be
// called more than once, but not from a callback.
func (d *Device) Close() error {
	d.link.close()
	return nil
}

func (d *Device) welcomed(w protocol.Welcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.welcome = w
}

func (d *Device) connected(w protocol.Welcome) {
	d.commands.connected()
	if d.describe != nil {
		if err := d.link.sendMessage(*d.describe); err != nil {
			d.link.log.Warn().Err(err).Msg("the description was not sent")
		}
	}
	if d.cfg.OnConnect != nil {
		defer d.link.caught("OnConnect")
		d.cfg.OnConnect(d, w)
	}
}

func (d *Device) text(e *protocol.Envelope) {
	if !isGateways(e) && e.Re == nil {
		d.commands.received(e.Message())
		return
	}
	if string(e.Type) == protocol.TypeError && string(e.Re) == describeID {
		d.link.log.Warn().RawJSON("error", e.Payload).Msg("the gateway refused the description")
	}
	if d.cfg.OnMessage != nil {
		defer d.link.caught("OnMessage")
		d.cfg.OnMessage(e.Message())
	}
}

// binary does nothing: the gateway sends no telemetry to devices.
func (d *Device) binary([]byte) {}

func (d *Device) disconnected(error) { d.commands.disconnected() }

func (d *Device) ended() { d.commands.ended() }

// isGateways reports whether the gateway itself sent the message.
func isGateways(e *protocol.Envelope) bool {
	return len(e.Type) >= len(protocol.GatewayPrefix) && string(e.Type[:len(protocol.GatewayPrefix)]) == protocol.GatewayPrefix
}

func nameError(field, name string) error {
	return fmt.Errorf("client: %s %q is not a name; use 1 to %d letters, digits and . _ : - and start with a letter or digit",
		field, name, protocol.MaxNameLen)
}
