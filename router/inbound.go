package router

import (
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// This file handles the telemetry of remote devices.

// telemetryArrived passes telemetry of a remote device to the receivers on this
// node, and reports the samples that were lost between the nodes. For early see
// federation.Inbound.Take.
func (r *Router) telemetryArrived(d *device, from federation.NodeID, b *federation.Batch, early bool) {
	lost, fresh := d.inbound.Take(from, &b.Range, early)
	r.lostBetweenNodes(d, lost)
	if fresh >= b.Range.To || len(b.Wire) == 0 {
		return
	}
	f, to, ok := cutBatch(b, d.stream, fresh)
	if f.Frames() > 0 {
		f.CountDropped(&d.counters.dropped)
		batch := batches.Get().(*Batch)
		*batch = Batch{Device: d.id, Frame: f, Remote: true}
		r.deliverBatch(d, batch)
		*batch = Batch{}
		batches.Put(batch)
	}
	f.Release()
	if !ok {
		r.stats.countError(protocol.ErrBadMessage)
		if from := max(to, fresh); from < b.Range.To {
			r.deliverLoss(d, federation.Samples{From: from, To: b.Range.To, Count: b.Range.To - from})
		}
	}
}

// lostBetweenNodes reports losses between nodes to the receivers.
func (r *Router) lostBetweenNodes(d *device, lost []federation.Samples) {
	for _, l := range lost {
		r.deliverLoss(d, l)
	}
}

// cutBatch returns a frame with a copy of the telemetry frames of a batch that
// end after the sample fresh, and the end of their samples. It writes the stream
// number into the telemetry frames. When the telemetry frames do not match the
// batch's range, ok is false, and f has only the telemetry frames before the
// first mismatch.
func cutBatch(b *federation.Batch, stream uint32, fresh uint64) (f *session.Frame, to uint64, ok bool) {
	var begin, end int
	var frames uint32
	from := b.Range.From
	to = from
	for end < len(b.Wire) {
		op, payload, size := wsframe.CutFrame(b.Wire[end:])
		var h protocol.TelemetryHeader
		if size == 0 || op != wsframe.OpBinary || h.Parse(payload) != nil || h.Seq != to || h.End() > b.Range.To {
			break
		}
		end += size
		if to = h.End(); to <= fresh {
			begin, from = end, to
			continue
		}
		protocol.StampStream(payload, stream)
		frames++
	}
	return session.NewTelemetryFrame(b.Wire[begin:end], frames, stream, from, to), to, to == b.Range.To && end == len(b.Wire)
}
