package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
)

// FrontendConfig describes a front end. The zero value describes a front end
// without a name that receives no telemetry.
type FrontendConfig struct {
	// User is the name to which other peers can send messages for this front
	// end; several front ends may share a user. Empty for none.
	User string

	// Telemetry is the first subscription: protocol.TelemetryAll or
	// protocol.TelemetryNone. Empty means all if there is an OnTelemetry, else
	// none.
	Telemetry string

	// OnConnect is called for each connection, before its first message.
	OnConnect func(*Frontend, protocol.Welcome)

	// OnMessage gets every text message that is not the answer to a pending
	// request: events of devices, gateway.device_online and the like, and
	// answers that came too late.
	OnMessage func(protocol.Message)

	// OnTelemetry gets every telemetry frame. The body, the values after the
	// header, is valid only during the call.
	OnTelemetry func(protocol.TelemetryHeader, []byte)

	// OnLost gets the ranges of samples that the gateway could not deliver to
	// this front end. Without OnLost the reports go to OnMessage.
	OnLost func(protocol.Lost)
}

// Frontend is a front end's connection to the gateway. Its methods may be
// called from any goroutine, but methods with a context not from a callback.
type Frontend struct {
	link     *link
	cfg      FrontendConfig
	idPrefix string // random, so that ids of two front ends do not look alike in logs
	lastID   atomic.Uint64

	mu           sync.Mutex
	pending      map[string]pendingRequest      // by id
	devices      map[string]protocol.DeviceInfo // by device id
	streams      map[uint32]string              // device ids by stream; offline ones stay until the connection ends
	welcome      protocol.Welcome
	subscription json.RawMessage // payload of the last gateway.subscribed, nil before the first; restores the subscription
}

// DialFrontend connects a front end. See the package's documentation for what
// happens afterwards.
func DialFrontend(ctx context.Context, cfg Config, fe FrontendConfig) (*Frontend, error) {
	tail, name := "frontend", "frontend"
	if fe.User != "" {
		if !protocol.ValidName(fe.User) {
			return nil, nameError("FrontendConfig.User", fe.User)
		}
		tail, name = tail+"/"+fe.User, fe.User
	}
	switch fe.Telemetry {
	case "":
		fe.Telemetry = protocol.TelemetryNone
		if fe.OnTelemetry != nil {
			fe.Telemetry = protocol.TelemetryAll
		}
	case protocol.TelemetryAll, protocol.TelemetryNone:
	default:
		return nil, fmt.Errorf("client: FrontendConfig.Telemetry %q is unknown; use %q or %q",
			fe.Telemetry, protocol.TelemetryAll, protocol.TelemetryNone)
	}
	u, err := endpoint(cfg.URL, tail, url.Values{"telemetry": {fe.Telemetry}})
	if err != nil {
		return nil, err
	}
	var prefix [6]byte
	_, _ = rand.Read(prefix[:]) // never fails
	f := &Frontend{
		link:     newLink(cfg, u, name),
		cfg:      fe,
		idPrefix: hex.EncodeToString(prefix[:]) + "-",
		pending:  map[string]pendingRequest{},
	}
	if err := f.link.start(ctx, f); err != nil {
		return nil, err
	}
	return f, nil
}

// Send queues a message to Dst without asking for an answer. Send does not
// wait. The error is ErrNotConnected while there is no connection; nil means
// that the message will be sent unless the connection ends first.
func (f *Frontend) Send(m protocol.Message) error { return f.link.sendMessage(m) }

// Welcome is the gateway's greeting on the present or last connection.
func (f *Frontend) Welcome() protocol.Welcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.welcome
}

// Devices returns the devices that are online, in no particular order; while
// there is no connection, the devices of the last connection.
func (f *Frontend) Devices() []protocol.DeviceInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]protocol.DeviceInfo, 0, len(f.devices))
	for _, d := range f.devices {
		all = append(all, d)
	}
	return all
}

// DeviceOf returns the id of the device whose telemetry has this stream number,
// also if the device went offline during this connection; ok is false if the
// number is unknown.
func (f *Frontend) DeviceOf(stream uint32) (id string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok = f.streams[stream]
	return id, ok
}

// Flush waits until everything queued is written to the network.
func (f *Frontend) Flush(ctx context.Context) error { return f.link.flush(ctx) }

// Stats returns the counters.
func (f *Frontend) Stats() Stats { return f.link.stats(nil) }

// Done is closed when the front end has ended for good: after Close, or when
// the gateway forbids a reconnect.
func (f *Frontend) Done() <-chan struct{} { return f.link.done }

// Err returns why the front end has ended for good: ErrClosed after Close, and
// nil before the end.
func (f *Frontend) Err() error { return f.link.ended() }

// Close sends queued messages for at most a second, closes the connection, and
// waits until all goroutines have ended. Pending requests fail. Close may be
// called more than once, but not from a callback.
func (f *Frontend) Close() error {
	f.link.close()
	return nil
}

func (f *Frontend) newID() string {
	return f.idPrefix + strconv.FormatUint(f.lastID.Add(1), 10)
}

func (f *Frontend) welcomed(w protocol.Welcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.welcome = w
	f.devices = map[string]protocol.DeviceInfo{}
	f.streams = map[uint32]string{}
	for _, d := range w.Devices {
		f.devices[d.DeviceID] = d
		f.streams[d.Stream] = d.DeviceID
	}
}

func (f *Frontend) connected(w protocol.Welcome) {
	f.resubscribe()
	if f.cfg.OnConnect != nil {
		defer f.link.caught("OnConnect")
		f.cfg.OnConnect(f, w)
	}
}

func (f *Frontend) text(e *protocol.Envelope) {
	if string(e.Type) == protocol.TypeSubscribed {
		f.noteSubscription(e.Payload)
	}
	if e.Re != nil && f.resolve(e) {
		return
	}
	switch string(e.Type) {
	case protocol.TypeDeviceOnline, protocol.TypeDeviceOffline:
		f.noteDevice(string(e.Type) == protocol.TypeDeviceOnline, e.Payload)
	case protocol.TypeLost:
		var lost protocol.Lost
		if f.cfg.OnLost != nil && json.Unmarshal(e.Payload, &lost) == nil {
			defer f.link.caught("OnLost")
			f.cfg.OnLost(lost)
			return
		}
	}
	if f.cfg.OnMessage != nil {
		defer f.link.caught("OnMessage")
		f.cfg.OnMessage(e.Message())
	}
}

func (f *Frontend) binary(frame []byte) {
	if f.cfg.OnTelemetry == nil {
		return
	}
	var h protocol.TelemetryHeader
	if err := h.Parse(frame); err != nil {
		f.link.badMessages.Add(1)
		f.link.log.Warn().Err(err).Msg("telemetry from the gateway is malformed; ignored")
		return
	}
	defer f.link.caught("OnTelemetry")
	f.cfg.OnTelemetry(h, frame[protocol.TelemetryHeaderSize:])
}

func (f *Frontend) disconnected(err error) { f.failPending(err) }

func (f *Frontend) ended() {}

// noteDevice keeps the list of devices.
func (f *Frontend) noteDevice(online bool, payload []byte) {
	var n protocol.DeviceNotice
	if json.Unmarshal(payload, &n) != nil {
		return // the program gets the message unchanged; the list stays without the device
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !online {
		delete(f.devices, n.DeviceID)
		return
	}
	f.devices[n.DeviceID] = protocol.DeviceInfo{
		DeviceID: n.DeviceID, Stream: n.Stream, Node: n.Node, Type: n.Type, Customer: n.Customer, Meta: n.Meta,
	}
	f.streams[n.Stream] = n.DeviceID
}
