package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// shards are the subscriptions to sharded channels in a Redis Cluster, each on a
// socket to the shard that has the channel.
//
// A goroutine for each channel listens, and subscribes again when the channel moves
// to another shard. It ends with the connection, or when the channel is removed.
type shards struct {
	conn *redisConn

	mu      sync.Mutex // a leaf
	cancels map[string]context.CancelFunc
}

func newShards(rc *redisConn) *shards {
	return &shards{conn: rc, cancels: map[string]context.CancelFunc{}}
}

func (s *shards) add(devices []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, device := range devices {
		channel := s.conn.bus.names.telemetry + device
		if s.cancels[channel] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(s.conn.ctx)
		s.cancels[channel] = cancel
		s.conn.done.Go(func() { s.listen(ctx, channel, device) })
	}
}

// listen receives what is published on a channel. Telemetry is lost between a
// channel's move to another shard and the next subscription, like any loss between
// nodes.
func (s *shards) listen(ctx context.Context, channel, device string) {
	rc := s.conn
	backoff := minBackoff
	for ctx.Err() == nil {
		confirmed := rueidis.WithOnSubscriptionHook(ctx, func(e rueidis.PubSubSubscription) {
			if e.Kind == "ssubscribe" && ctx.Err() == nil {
				rc.bus.subscribed(device)
			}
		})
		begun := time.Now()
		err := rc.client.Receive(confirmed, rc.client.B().Ssubscribe().Channel(channel).Build(),
			func(m rueidis.PubSubMessage) { rc.receive(m.Channel, m.Message) })
		if ctx.Err() != nil {
			return
		}
		rc.bus.log.Debug().Err(err).Str("channel", channel).Msg("subscribing again to a channel that may have moved")
		if backoff = min(2*backoff, maxBackoff); time.Since(begun) > stableTime {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
	}
}

// remove unsubscribes from channels.
func (s *shards) remove(channels []string) error {
	for _, channel := range channels {
		s.mu.Lock()
		if cancel := s.cancels[channel]; cancel != nil {
			cancel()
			delete(s.cancels, channel)
		}
		s.mu.Unlock()
		// Ending Receive alone would leave the subscription in Redis.
		if err := s.conn.client.Do(s.conn.ctx, s.conn.client.B().Sunsubscribe().Channel(channel).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}
