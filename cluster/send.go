package cluster

import (
	"fmt"

	"github.com/labgate/labgate/router/federation"
)

// Send gives a message to one node.
func (b *Bus) Send(to federation.NodeID, m *federation.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || b.leaving {
		return federation.ErrDown
	}
	d := b.nodes[to]
	if d == nil {
		return federation.ErrNodeGone
	}
	return b.enqueueMessage(d, m)
}

// SendAll gives a message to every other node.
func (b *Bus) SendAll(m *federation.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || b.leaving {
		return federation.ErrDown
	}
	if len(b.nodes) == 0 {
		return nil
	}
	return b.enqueueMessage(&b.all, m)
}

// enqueueMessage adds a message to the packet that waits for a destination. mu is
// held. An empty queue takes a message of any size.
func (b *Bus) enqueueMessage(to *destination, m *federation.Message) error {
	size := messageSize(m)
	if to.waiting > 0 && to.waiting+size > maxWaiting {
		return federation.ErrFull
	}
	if err := checkSize(m); err != nil {
		return err
	}
	p := b.queue.room(to, size)
	before := len(p.buf)
	p.buf = appendMessage(p.buf, m)
	p.messages++
	p.grown(before)
	b.stats.Sent++
	b.stats.SentBytes += uint64(len(p.buf) - before)
	notify(b.wakePublish)
	return nil
}

// checkSize refuses what the receiver would refuse.
func checkSize(m *federation.Message) error {
	if len(m.Text) > maxText {
		return fmt.Errorf("%w: a text of %d bytes, at most %d can be sent", federation.ErrFull, len(m.Text), maxText)
	}
	for _, s := range [...]string{m.Name, m.ID, m.Device, string(m.Code)} {
		if len(s) > maxString {
			return fmt.Errorf("%w: a name of %d bytes, at most %d can be sent", federation.ErrFull, len(s), maxString)
		}
	}
	return nil
}

// SendTelemetry gives a batch to the nodes that are interested in the device's
// telemetry.
func (b *Bus) SendTelemetry(t *federation.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.up || b.leaving || b.interest[t.Device] == 0 {
		return
	}
	s := b.queue.streams[t.Device]
	if s == nil {
		s = b.queue.addStream(t.Device, b.names.telemetry)
	}
	first := b.queue.add(s, t)
	b.stats.Sent++
	b.stats.SentBytes += uint64(len(t.Wire))
	// The publisher must know of the first batch, and when there is so much that
	// waiting for more is of no use.
	if first || b.queue.telemetry >= maxPacket {
		notify(b.wakeTelemetry)
	}
}
