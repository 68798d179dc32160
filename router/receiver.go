package router

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Receiver gets the telemetry of devices: live front ends, other nodes, and
// those of Options.Receivers. Its methods must not block, and are called on the
// goroutine that reads the device or, for a device on another node, the bus.
type Receiver interface {
	// ReceiveBatch takes a batch, which is valid during the call only, but for
	// its Frame: Retain keeps that.
	ReceiveBatch(b *Batch)
	// ReceiveLoss takes the news that samples were lost before they came to this
	// node.
	ReceiveLoss(l Loss)
}

// Batch is the telemetry that came of a device in one read: consecutive samples.
type Batch struct {
	// Device is the device's id. Frame holds its telemetry frames as they go to
	// front ends, with the samples [From, To) of its stream.
	Device string
	Frame  *session.Frame
	// Remote says that another node holds the device.
	Remote bool

	// outgoing is what other nodes are given; the zero value on a node alone and
	// for a remote device. Frame says what is in it.
	outgoing federation.Batch
	// by is the reading session that flushes the receivers' queues at the end
	// of its read event; nil leaves that to the flushers. See
	// session.Session.SendTelemetry.
	by *session.Session
}

// batches are used again for the telemetry of other nodes.
var batches = sync.Pool{New: func() any { return new(Batch) }}

// Loss is samples of a device's stream that were lost on their way between
// nodes.
type Loss struct {
	Device string
	Stream uint32
	federation.Samples
}

// receiverList is a list of receivers that is read without a lock and replaced,
// not changed, by writers, which hold registry.mu.
type receiverList struct{ p atomic.Pointer[[]Receiver] }

func (l *receiverList) load() []Receiver {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// add puts a receiver at the end. Readers of the old list see its old length
// only, so growing in place does not disturb them: a storm of connections costs
// one copy per doubling.
func (l *receiverList) add(r Receiver) {
	grown := append(l.load(), r)
	l.p.Store(&grown)
}

// remove takes a receiver out of a copy: readers may still use the old list.
func (l *receiverList) remove(r Receiver) {
	left := without(l.load(), r)
	l.p.Store(&left)
}

// liveReceiver is a front end that may observe every device, and one that has
// listed the device: its rights were looked at then. It is a pointer, so that a
// Receiver holds it without an allocation or another load.
type liveReceiver struct{ s *session.Session }

// ReceiveBatch implements Receiver.
func (l liveReceiver) ReceiveBatch(b *Batch) { _ = l.s.SendTelemetry(b.Frame, b.by) }

// ReceiveLoss implements Receiver.
func (l liveReceiver) ReceiveLoss(x Loss) {
	l.s.ReportLossWithin(x.Stream, x.From, x.To, x.Count, session.LossBus)
}

// limitedReceiver is a front end with limited rights that wants every device it
// may observe.
type limitedReceiver struct{ fe *frontend }

// ReceiveBatch implements Receiver.
func (l limitedReceiver) ReceiveBatch(b *Batch) {
	if l.fe.mayObserve(b.Device) {
		_ = l.fe.s.SendTelemetry(b.Frame, b.by)
	}
}

// ReceiveLoss implements Receiver.
func (l limitedReceiver) ReceiveLoss(x Loss) {
	if l.fe.mayObserve(x.Device) {
		liveReceiver{l.fe.s}.ReceiveLoss(x)
	}
}

// busReceiver gives the telemetry of a device here to the nodes that want it.
// It is in the device's list while there are any.
type busReceiver struct{ r *Router }

// ReceiveBatch implements Receiver. What came from another node is not given
// away again.
func (x busReceiver) ReceiveBatch(b *Batch) {
	if !b.Remote {
		x.r.bus.SendTelemetry(&b.outgoing)
	}
}

// ReceiveLoss implements Receiver: the other nodes see it themselves.
func (x busReceiver) ReceiveLoss(Loss) {}

// without returns a copy of list without x.
func without[T comparable](list []T, x T) []T {
	left := make([]T, 0, len(list))
	for _, other := range list {
		if other != x {
			left = append(left, other)
		}
	}
	return left
}
