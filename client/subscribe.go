package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/labgate/labgate/protocol"
)

// subscribePatience bounds the wait for the gateway's own answer.
const subscribePatience = 10 * time.Second

// Subscribe asks for the telemetry of the given devices beside those listed
// before, also of devices that are not online yet; if all was subscribed to, it
// narrows that down to the list. What holds is restored after a reconnect. The
// error is a *GatewayError if the gateway refused, else as for Command.
func (f *Frontend) Subscribe(ctx context.Context, devices ...string) error {
	return f.subscribe(ctx, protocol.TypeSubscribe, protocol.Subscription{Devices: devices})
}

// Unsubscribe takes devices off the list.
func (f *Frontend) Unsubscribe(ctx context.Context, devices ...string) error {
	return f.subscribe(ctx, protocol.TypeUnsubscribe, protocol.Subscription{Devices: devices})
}

// SubscribeTo asks for the telemetry of every device (protocol.TelemetryAll) or
// of none (protocol.TelemetryNone), in place of all that was asked for before.
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

// noteSubscription keeps what the gateway says holds now. It is called in the
// order of the gateway's answers, whoever waits for them.
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

// resubscribe restores on a new connection what held on the one before. It does
// not wait for the answer: the gateway has accepted the same before.
func (f *Frontend) resubscribe() {
	f.mu.Lock()
	s := f.subscription
	f.mu.Unlock()
	if s == nil {
		return // never changed: the query of the URL says it
	}
	if err := f.link.sendMessage(protocol.Message{Type: protocol.TypeSubscribe, Payload: s}); err != nil {
		f.link.log.Warn().Err(err).Msg("cannot subscribe again")
	}
}
