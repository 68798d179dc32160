package cluster

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// maxBatch is about how many bytes are sent to Redis at once. What arrives meanwhile
// is sent together, in fewer and larger packets: the busier Redis is, the less each
// message costs.
const maxBatch = 1 << 20

// publish sends what is queued, until the connection ends. It sends a batch when
// Redis has answered the one before.
func (rc *redisConn) publish() {
	b := rc.bus
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	waiting := false // the timer runs: telemetry waits for more
	var batch []*packet
	for {
		telemetry := false
		select {
		case <-rc.ctx.Done():
			return
		case <-b.wakePublish:
		case <-b.wakeTelemetry:
			switch {
			case b.options.TelemetryInterval == 0 || b.telemetryWaiting() >= maxPacket:
				telemetry, waiting = true, false
			case waiting:
				continue
			default:
				waiting = true
				timer.Reset(b.options.TelemetryInterval)
				continue
			}
		case <-timer.C:
			telemetry, waiting = waiting, false
		}
		for {
			batch = b.takeBatch(batch[:0], telemetry)
			if len(batch) == 0 {
				break
			}
			if err := rc.send(batch); err != nil {
				rc.fail(err)
				return
			}
		}
	}
}

func (b *Bus) telemetryWaiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.telemetry
}

// takeBatch takes the packets to send next, messages before telemetry.
func (b *Bus) takeBatch(batch []*packet, telemetry bool) []*packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch = b.queue.take(batch, maxBatch)
	if telemetry {
		batch = b.queue.takeTelemetry(batch, maxBatch)
	}
	return batch
}

// send publishes packets and waits for the answers. When it fails, nobody knows
// which packets without an answer were delivered. So none is sent again, and their
// memory, which the client may still read, is not used again.
func (rc *redisConn) send(batch []*packet) error {
	b := rc.bus
	head := header{node: b.id, sent: b.now()}
	commands, sharded := rc.commands[:0], rc.sharded[:0]
	for _, p := range batch {
		p.to.number++
		head.number = p.to.number
		head.stamp(p.buf)
		message := rueidis.BinaryString(p.buf)
		if b.options.Sharded && p.to.telemetry {
			sharded = append(sharded, rc.client.B().Spublish().Channel(p.to.channel).Message(message).Build())
		} else {
			commands = append(commands, rc.client.B().Publish().Channel(p.to.channel).Message(message).Build())
		}
	}
	rc.commands, rc.sharded = commands, sharded
	results := rc.out.DoMulti(context.Background(), commands...)
	for i := range results {
		if err := results[i].Error(); err != nil {
			rc.keepUncertain(batch, results)
			return err
		}
	}
	// No deadline: watch ends the connection when the answers take too long.
	for _, r := range rc.client.DoMulti(context.Background(), sharded...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	n := 0
	for _, p := range batch {
		if !(b.options.Sharded && p.to.telemetry) {
			receivers, err := results[n].AsInt64()
			n++
			// A Redis Cluster counts only the receivers on one of its nodes.
			if err == nil && receivers == 0 && p.to.node != 0 && rc.mode != rueidis.ClientModeCluster {
				if p.to == &b.self {
					return errUnheard
				}
				b.undelivered(p, true)
			}
		}
		if p.sent != nil {
			close(p.sent)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Publishes += uint64(len(batch))
	for _, p := range batch {
		b.queue.recycle(p)
	}
	return nil
}

// keepUncertain keeps the packets without an answer of Redis.
func (rc *redisConn) keepUncertain(batch []*packet, results []rueidis.RedisResult) {
	n := 0
	for _, p := range batch {
		if rc.bus.options.Sharded && p.to.telemetry {
			continue
		}
		if results[n].Error() != nil {
			rc.uncertain = append(rc.uncertain, p)
		}
		n++
	}
}
