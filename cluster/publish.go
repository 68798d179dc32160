package cluster

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// maxBatch is about how many bytes are handed to Redis at once. What comes
// meanwhile waits and leaves together, in fewer and larger packets: the busier
// Redis is, the less each message costs it.
const maxBatch = 1 << 20

// publish sends what waits, until the link ends. One batch is on its way at a
// time: its answer is the sign that Redis keeps up.
func (l *link) publish() {
	b := l.bus
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	waiting := false // for company for telemetry
	var batch []*packet
	for {
		telemetry := false
		select {
		case <-l.ctx.Done():
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
			if err := l.send(batch); err != nil {
				l.fail(err)
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

// takeBatch takes what is to leave next. Messages leave first.
func (b *Bus) takeBatch(batch []*packet, telemetry bool) []*packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch = b.queue.take(batch, maxBatch)
	if telemetry {
		batch = b.queue.takeTelemetry(batch, maxBatch)
	}
	return batch
}

// send publishes packets and waits for the answers. When it fails nobody knows
// which of those without an answer were delivered, so none is sent again; nor is
// their memory used again, which the client may still read.
func (l *link) send(batch []*packet) error {
	b := l.bus
	head := header{node: b.id, sent: b.now()}
	commands, sharded := l.commands[:0], l.sharded[:0]
	for _, p := range batch {
		p.to.number++
		head.number = p.to.number
		head.stamp(p.buf)
		message := rueidis.BinaryString(p.buf)
		if b.options.Sharded && p.to.samples {
			sharded = append(sharded, l.client.B().Spublish().Channel(p.to.channel).Message(message).Build())
		} else {
			commands = append(commands, l.client.B().Publish().Channel(p.to.channel).Message(message).Build())
		}
	}
	l.commands, l.sharded = commands, sharded
	results := l.out.DoMulti(context.Background(), commands...)
	for i := range results {
		if err := results[i].Error(); err != nil {
			l.doubt(batch, results)
			return err
		}
	}
	// Without a deadline of its own: watch ends the link when it takes too long.
	for _, r := range l.client.DoMulti(context.Background(), sharded...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	n := 0
	for _, p := range batch {
		if !(b.options.Sharded && p.to.samples) {
			receivers, err := results[n].AsInt64()
			n++
			// In a Redis Cluster only the receivers on one of its nodes are counted.
			if err == nil && receivers == 0 && p.to.node != 0 && l.mode != rueidis.ClientModeCluster {
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

// doubt keeps the packets that Redis did not answer for.
func (l *link) doubt(batch []*packet, results []rueidis.RedisResult) {
	n := 0
	for _, p := range batch {
		if l.bus.options.Sharded && p.to.samples {
			continue
		}
		if results[n].Error() != nil {
			l.doubtful = append(l.doubtful, p)
		}
		n++
	}
}
