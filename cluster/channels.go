package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// maxChannels is how many channels one SUBSCRIBE names.
const maxChannels = 500

// subscribeAll subscribes to all that this node listens to, before it is told
// that the bus is up.
func (l *link) subscribeAll() error {
	b := l.bus
	if err := l.subscribe([]string{b.names.ofNode(b.id), b.names.all, b.names.ingress}, false); err != nil {
		return err
	}
	if l.shards != nil {
		return nil // one by one, by channels
	}
	_, err := l.changeChannels()
	return err
}

// channels subscribes to the telemetry of devices when it is wanted, and leaves
// it, until the link ends.
func (l *link) channels() {
	b := l.bus
	for {
		for more := true; more; {
			var err error
			if more, err = l.changeChannels(); err != nil {
				l.fail(fmt.Errorf("subscribing: %w", err))
				return
			}
		}
		select {
		case <-l.ctx.Done():
			return
		case <-b.wakeChannels:
		}
	}
}

// changeChannels does what has to be done, and reports whether there was
// anything.
func (l *link) changeChannels() (bool, error) {
	b := l.bus
	var add, remove []string
	b.mu.Lock()
	for device, w := range b.own.wants {
		if w.wanted && !w.subscribed {
			add = append(add, device)
		} else if !w.wanted && w.subscribed {
			remove = append(remove, device)
		}
	}
	b.mu.Unlock()
	if err := l.eachChannels(remove, l.unsubscribe, b.unsubscribedFrom); err != nil {
		return false, err
	}
	if l.shards != nil {
		l.shards.add(add)
		return false, nil
	}
	err := l.eachChannels(add, func(channels []string) error { return l.subscribe(channels, b.options.Sharded) }, b.subscribedTo)
	return len(add)+len(remove) > 0, err
}

// eachChannels does something with the channels of devices, some at a time, and
// then notes it.
func (l *link) eachChannels(devices []string, do func(channels []string) error, note func(device string)) error {
	for len(devices) > 0 {
		n := min(len(devices), maxChannels)
		channels := make([]string, n)
		for i, d := range devices[:n] {
			channels[i] = l.bus.names.telemetry + d
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

func (l *link) subscribe(channels []string, sharded bool) error {
	c := l.client.B().Subscribe().Channel(channels...).Build()
	if sharded {
		c = l.client.B().Ssubscribe().Channel(channels...).Build()
	}
	return l.in.Do(context.Background(), c).Error()
}

func (l *link) unsubscribe(channels []string) error {
	if l.shards != nil {
		return l.shards.remove(channels)
	}
	c := l.client.B().Unsubscribe().Channel(channels...).Build()
	if l.bus.options.Sharded {
		c = l.client.B().Sunsubscribe().Channel(channels...).Build()
	}
	return l.in.Do(context.Background(), c).Error()
}

// subscribedTo notes that a device's telemetry arrives from now on, and tells
// the others that it is wanted, if it still is. It tells them again when this is
// not the first subscription: what they sent in between did not arrive.
func (b *Bus) subscribedTo(device string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.own.wants[device]
	if w == nil { // no longer wanted, before it was subscribed to
		w = &want{}
		b.own.wants[device] = w
	}
	w.subscribed = true
	if !w.wanted {
		notify(b.wakeChannels)
		return
	}
	b.own.subs++
	w.announced = b.own.subs
	b.change(func(buf []byte, seq uint64) []byte { return appendWant(buf, seq, device, w.announced) })
}

func (b *Bus) unsubscribedFrom(device string) {
	b.mu.Lock()
	w := b.own.wants[device]
	if w != nil {
		w.subscribed = false
		if w.wanted {
			notify(b.wakeChannels)
		} else {
			delete(b.own.wants, device)
		}
	}
	b.mu.Unlock()
	// What comes when it is wanted again does not follow what came last.
	b.calls.Lock()
	defer b.calls.Unlock()
	for _, p := range b.peers {
		delete(p.numbers, b.names.telemetry+device)
	}
}

// unsubscribed notes that the link has ended, and with it all subscriptions.
func (o *own) unsubscribed() {
	for device, w := range o.wants {
		if w.subscribed = false; !w.wanted {
			delete(o.wants, device)
		}
	}
}

// shards are subscriptions to sharded channels in a Redis Cluster, each on the
// connection to the shard that has the channel.
//
// A goroutine per channel listens, and subscribes again when the channel moves
// to another shard; they end with the link, or when the channel is left.
type shards struct {
	link *link

	mu      sync.Mutex // a leaf
	cancels map[string]context.CancelFunc
}

func newShards(l *link) *shards { return &shards{link: l, cancels: map[string]context.CancelFunc{}} }

func (s *shards) add(devices []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, device := range devices {
		channel := s.link.bus.names.telemetry + device
		if s.cancels[channel] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(s.link.ctx)
		s.cancels[channel] = cancel
		s.link.done.Go(func() { s.listen(ctx, channel, device) })
	}
}

// listen receives what comes on a channel. Between a channel's move to another
// shard and the next subscription telemetry is lost, as with any loss on the bus.
func (s *shards) listen(ctx context.Context, channel, device string) {
	l := s.link
	wait := firstWait
	for ctx.Err() == nil {
		confirmed := rueidis.WithOnSubscriptionHook(ctx, func(e rueidis.PubSubSubscription) {
			if e.Kind == "ssubscribe" && ctx.Err() == nil {
				l.bus.subscribedTo(device)
			}
		})
		begun := time.Now()
		err := l.client.Receive(confirmed, l.client.B().Ssubscribe().Channel(channel).Build(),
			func(m rueidis.PubSubMessage) { l.receive(m.Channel, m.Message) })
		if ctx.Err() != nil {
			return
		}
		l.bus.log.Debug().Err(err).Str("channel", channel).Msg("subscribing again to a channel that may have moved")
		if wait = min(2*wait, lastWait); time.Since(begun) > lasting {
			wait = firstWait
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// remove leaves channels.
func (s *shards) remove(channels []string) error {
	for _, channel := range channels {
		s.mu.Lock()
		if cancel := s.cancels[channel]; cancel != nil {
			cancel()
			delete(s.cancels, channel)
		}
		s.mu.Unlock()
		// Ending Receive alone would leave the subscription in Redis.
		if err := s.link.client.Do(s.link.ctx, s.link.client.B().Sunsubscribe().Channel(channel).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}
