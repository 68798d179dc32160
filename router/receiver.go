package router

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Receiver gets the telemetry of devices. Front ends, the bus (for other
// nodes) and Options.Receivers are Receivers. The methods must not block. The
// device's reading goroutine calls them, or the bus for a remote device.
type Receiver interface {
	// ReceiveBatch takes a batch. The batch is valid during the call only;
	// Frame.Retain keeps its Frame.
	ReceiveBatch(b *Batch)
	// ReceiveLoss takes the report that samples were lost before they reached
	// this node.
	ReceiveLoss(l Loss)
}

// Batch is consecutive telemetry of one device from one read event.
type Batch struct {
	// Device is the device's id. Frame holds its telemetry frames as front
	// ends get them; Frame.Range returns their samples.
	Device string
	Frame  *session.Frame
	// Remote: another node holds the device.
	Remote bool

	// outgoing is the same telemetry for other nodes. It is the zero value on a
	// single node and for a remote device.
	outgoing federation.Batch
	// by is the device's session. At the end of its read event, the session flushes
	// the receivers' outboxes. When by is nil, the flushers do that. See
	// session.Session.SendTelemetry.
	by *session.Session
}

// batches is a pool of Batches for the telemetry of remote devices.
var batches = sync.Pool{New: func() any { return new(Batch) }}

// Loss is samples of a device's stream that were lost between nodes.
type Loss struct {
	Device string
	Stream uint32
	federation.Samples
}

// receiverList is a list of receivers. Readers need no lock; writers hold
// registry.mu and replace the list.
type receiverList struct{ p atomic.Pointer[[]Receiver] }

func (l *receiverList) load() []Receiver {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// add appends a receiver, in place when the list has room: readers of the old
// list see its old length only. So many new connections cost one copy for each
// doubling of the list.
func (l *receiverList) add(r Receiver) {
	grown := append(l.load(), r)
	l.p.Store(&grown)
}

// remove replaces the list by a copy without the receiver: readers may still
// use the old list.
func (l *receiverList) remove(r Receiver) {
	left := without(l.load(), r)
	l.p.Store(&left)
}

// liveReceiver is a front end that gets batches without a check of its rights:
// the front end may observe every device, or its rights were checked when it
// listed the device. The struct is one pointer, so a Receiver holds it without
// an allocation.
type liveReceiver struct{ s *session.Session }

// ReceiveBatch implements Receiver.
func (l liveReceiver) ReceiveBatch(b *Batch) { _ = l.s.SendTelemetry(b.Frame, b.by) }

// ReceiveLoss implements Receiver.
func (l liveReceiver) ReceiveLoss(x Loss) {
	l.s.ReportLoss(x.Stream, x.From, x.To, x.Count, session.LossBus)
}

// limitedReceiver is a front end with limited rights that subscribes to all
// devices; its rights are checked for each batch.
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

// busReceiver sends the telemetry of a local device to the other nodes that
// are interested. The device's list of receivers contains the busReceiver while
// any node is interested.
type busReceiver struct{ r *Router }

// ReceiveBatch implements Receiver. Telemetry of a remote device is not sent
// to other nodes again.
func (x busReceiver) ReceiveBatch(b *Batch) {
	if !b.Remote {
		x.r.bus.SendTelemetry(&b.outgoing)
	}
}

// ReceiveLoss implements Receiver: the other nodes find the loss themselves.
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
