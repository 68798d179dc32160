package client

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
)

// DeviceConfig describes a device. Only ID is required.
type DeviceConfig struct {
	ID       string // the device's name; see protocol.ValidName
	Type     string // what it is, "tensile"
	Customer string
	Meta     map[string]string

	// OnConnect is called for each connection, before its first message. It is
	// the place to send the device's state.
	OnConnect func(*Device, protocol.Welcome)

	// OnCommand carries out a command: any message to this device that is not
	// the gateway's own. If the command asks for an answer, one goes back: of
	// type "<command>.result", with what OnCommand returned as payload ({"ok":true} for
	// nil), or {"ok":false,"error":"..."} for an error. A protocol.Message is
	// sent as it is, with Re set.
	//
	// Ordinary commands are carried out one at a time in the order in which
	// they came; up to MaxQueuedCommands wait. An urgent command does not
	// wait: it runs at once, beside what is running, up to four at a time.
	// What exceeds these bounds is answered with an error and not carried out.
	//
	// The context ends when the command's timeout has passed, when the
	// connection it came from is lost, and with Close, which waits for
	// OnCommand to return. A command for which that happens while it still
	// waits is not carried out: whoever gave it has been told that it failed.
	OnCommand func(context.Context, protocol.Message) (any, error)

	// MaxQueuedCommands is how many ordinary commands may wait. 0 means 64.
	MaxQueuedCommands int

	// OnMessage gets what is not a command: the gateway's own messages,
	// gateway.error among them, and answers.
	OnMessage func(protocol.Message)
}

// Device is a device's connection to the gateway. Its methods may be called
// from any goroutine.
type Device struct {
	link     *link
	cfg      DeviceConfig
	commands *commandRunner
	streamed atomic.Bool // a Stream is open

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
	d.commands = newCommandRunner(d.link, dev.OnCommand, dev.MaxQueuedCommands)
	if err := d.link.start(ctx, d); err != nil {
		return nil, err
	}
	return d, nil
}

// Send queues a message: an event for the front ends, or whatever Dst says. It
// does not wait. It fails with ErrNotConnected while there is no connection;
// nil means that the message will be sent if the connection lasts.
func (d *Device) Send(m protocol.Message) error { return d.link.sendMessage(m) }

// SendUrgent is Send for a message that goes ahead of everything queued, here
// and in the gateway.
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

// Flush waits until everything queued, telemetry included, is with the network.
func (d *Device) Flush(ctx context.Context) error { return d.link.flush(ctx) }

// Stats returns the counters.
func (d *Device) Stats() Stats { return d.link.stats(d.commands) }

// Done is closed when the device has ended for good: after Close, or when the
// gateway does not want it back.
func (d *Device) Done() <-chan struct{} { return d.link.done }

// Err returns why the device has ended for good, ErrClosed after Close, and nil
// while it has not.
func (d *Device) Err() error { return d.link.ended() }

// Close sends what is queued, for at most a second, closes the connection and
// waits until all goroutines, OnCommand among them, have ended. It may be
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
	if d.cfg.OnMessage != nil {
		defer d.link.caught("OnMessage")
		d.cfg.OnMessage(e.Message())
	}
}

// binary: devices are not sent telemetry.
func (d *Device) binary([]byte) {}

func (d *Device) disconnected(error) { d.commands.disconnected() }

func (d *Device) ended() { d.commands.ended() }

// isGateways reports whether the message is the gateway's own.
func isGateways(e *protocol.Envelope) bool {
	return len(e.Type) >= len(protocol.GatewayPrefix) && string(e.Type[:len(protocol.GatewayPrefix)]) == protocol.GatewayPrefix
}

func nameError(field, name string) error {
	return fmt.Errorf("client: %s %q is not a name; use 1 to %d letters, digits and . _ : - and start with a letter or digit",
		field, name, protocol.MaxNameLen)
}
