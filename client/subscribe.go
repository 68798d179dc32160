package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/labgate/labgate/protocol"
)

// subscribePatience limits the wait for the gateway's answer.
const subscribePatience = 10 * time.Second

// Subscribe adds devices to the subscription, also devices that are not online
// yet. A subscription to all devices becomes a subscription to the given
// devices only. The client restores the subscription after a reconnect. The
// error is a *GatewayError if the gateway refused, else as for Command.
func (f *Frontend) Subscribe(ctx context.Context, devices ...string) error {
	return f.subscribe(ctx, protocol.TypeSubscribe, protocol.Subscription{Devices: devices})
}

// Unsubscribe removes devices from the subscription.
func (f *Frontend) Unsubscribe(ctx context.Context, devices ...string) error {
	return f.subscribe(ctx, protocol.TypeUnsubscribe, protocol.Subscription{Devices: devices})
}

// SubscribeTo replaces the subscription by all devices (protocol.TelemetryAll)
// or none (protocol.TelemetryNone).
func (f *Frontend) SubscribeTo(ctx context.Context, telemetry string) error {
	return f.subscribe(ctx, protocol.TypeSubscribe, protocol.Subscription{Telemetry: telemetry})
}

func (f *Frontend) subscribe(ctx context.Context, typ string, s protocol.Subscription) error {
	m, err := protocol.NewMessage(typ, s)
	if err != nil {
		return err
	}
	if _, err := protocol.ParseSubscription(m.Payload); err != nil {
		return err
	}
	_, err = f.request(ctx, m, subscribePatience)
	return err
}

// noteSubscription stores the present subscription from the gateway's answer.
// The calls have the order of the answers, whichever goroutine waits for them.
func (f *Frontend) noteSubscription(payload []byte) {
	s, err := protocol.ParseSubscription(payload)
	if err != nil {
		f.link.log.Warn().Err(err).Msg("the gateway's answer to a subscription cannot be read")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscription, _ = json.Marshal(s)
}

// resubscribe restores the subscription of the previous connection on a new
// one, and does not wait for the answer: the gateway has accepted the same
// subscription before.
func (f *Frontend) resubscribe() {
	f.mu.Lock()
	s := f.subscription
	f.mu.Unlock()
	if s == nil {
		return // never changed: the URL's query has the first subscription
	}
	if err := f.link.sendMessage(protocol.Message{Type: protocol.TypeSubscribe, Payload: s}); err != nil {
		f.link.log.Warn().Err(err).Msg("cannot subscribe again")
	}
}
