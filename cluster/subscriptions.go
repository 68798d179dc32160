package cluster

import (
	"context"
	"fmt"
)

// maxChannels bounds the channels that one SUBSCRIBE names.
const maxChannels = 500

// subscribeAll subscribes to all channels of this node, before the bus is up.
func (rc *redisConn) subscribeAll() error {
	b := rc.bus
	if err := rc.subscribe([]string{b.names.ofNode(b.id), b.names.all, b.names.ingress}, false); err != nil {
		return err
	}
	if rc.shards != nil {
		return nil // maintainSubscriptions does it, one by one
	}
	_, err := rc.updateSubscriptions()
	return err
}

// maintainSubscriptions subscribes to the telemetry of devices that this node is
// interested in, and unsubscribes when the interest ends, until the connection
// ends.
func (rc *redisConn) maintainSubscriptions() {
	b := rc.bus
	for {
		for more := true; more; {
			var err error
			if more, err = rc.updateSubscriptions(); err != nil {
				rc.fail(fmt.Errorf("subscribing: %w", err))
				return
			}
		}
		select {
		case <-rc.ctx.Done():
			return
		case <-b.wakeSubscriptions:
		}
	}
}

// updateSubscriptions subscribes and unsubscribes as the interests say, and reports
// whether there was anything to do.
func (rc *redisConn) updateSubscriptions() (bool, error) {
	b := rc.bus
	var add, remove []string
	b.mu.Lock()
	for device, i := range b.local.unsettled {
		if i.wanted {
			add = append(add, device)
		} else {
			remove = append(remove, device)
		}
	}
	b.mu.Unlock()
	if err := rc.inChunks(remove, rc.unsubscribe, b.unsubscribed); err != nil {
		return false, err
	}
	if rc.shards != nil {
		rc.shards.add(add)
		return false, nil
	}
	err := rc.inChunks(add, func(channels []string) error { return rc.subscribe(channels, b.options.Sharded) }, b.subscribed)
	return len(add)+len(remove) > 0, err
}

// inChunks calls do with the telemetry channels of devices, maxChannels at a time,
// and then note for each device.
func (rc *redisConn) inChunks(devices []string, do func(channels []string) error, note func(device string)) error {
	for len(devices) > 0 {
		n := min(len(devices), maxChannels)
		channels := make([]string, n)
		for i, d := range devices[:n] {
			channels[i] = rc.bus.names.telemetry + d
		}
		if err := do(channels); err != nil {
			return err
		}
		for _, d := range devices[:n] {
			note(d)
		}
		devices = devices[n:]
	}
	return nil
}

func (rc *redisConn) subscribe(channels []string, sharded bool) error {
	c := rc.client.B().Subscribe().Channel(channels...).Build()
	if sharded {
		c = rc.client.B().Ssubscribe().Channel(channels...).Build()
	}
	return rc.in.Do(context.Background(), c).Error()
}

func (rc *redisConn) unsubscribe(channels []string) error {
	if rc.shards != nil {
		return rc.shards.remove(channels)
	}
	c := rc.client.B().Unsubscribe().Channel(channels...).Build()
	if rc.bus.options.Sharded {
		c = rc.client.B().Sunsubscribe().Channel(channels...).Build()
	}
	return rc.in.Do(context.Background(), c).Error()
}

// subscribed notes that a device's telemetry arrives from now on, and tells the
// other nodes of the interest if it lasts. Each subscription has a number, so they
// are told again when it is not the first: what they sent before did not arrive.
func (b *Bus) subscribed(device string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.local.interests[device]
	if i == nil { // the interest ended before the subscription stood
		i = &interest{}
		b.local.interests[device] = i
	}
	i.subscribed = true
	b.local.settle(device, i)
	if !i.wanted {
		notify(b.wakeSubscriptions)
		return
	}
	b.local.subscriptions++
	i.announced = b.local.subscriptions
	b.publishChange(func(buf []byte, seq uint64) []byte { return appendInterest(buf, seq, device, i.announced) })
}

// unsubscribed notes that a device's telemetry does not arrive any longer.
func (b *Bus) unsubscribed(device string) {
	b.mu.Lock()
	i := b.local.interests[device]
	if i != nil {
		i.subscribed = false
		b.local.settle(device, i)
		if i.wanted {
			notify(b.wakeSubscriptions)
		}
	}
	b.mu.Unlock()
	// The first packet after the next subscription does not follow the last before.
	b.calls.Lock()
	defer b.calls.Unlock()
	for _, p := range b.peers {
		delete(p.numbers, b.names.telemetry+device)
	}
}
