package router

import (
	"encoding/json"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// telemetry returns a frame of one channel with count samples from seq on. The
// value of each sample is its number; the stream number is spoofed.
func telemetry(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI32, Stream: 0xDEAD, Seq: seq, DT: 100_000, Channels: 1, Count: uint16(count)}
	frame := h.Append(nil)
	for i := range count {
		frame = protocol.AppendI32(frame, int32(seq)+int32(i))
	}
	return frame
}

// span is a range of samples of a stream, received by a front end or reported
// to it as lost.
type span struct {
	stream   uint32
	from, to uint64
	lost     bool
}

// spansOf returns the telemetry and the losses among messages in order, and
// checks the values of the samples.
func spansOf(t testing.TB, got []received) []span {
	t.Helper()
	var all []span
	for _, m := range got {
		switch {
		case m.op == wsframe.OpBinary:
			var h protocol.TelemetryHeader
			if err := h.Parse(m.data); err != nil {
				t.Fatal(err)
			}
			for i := range int(h.Count) {
				if v := protocol.I32At(m.data[protocol.TelemetryHeaderSize:], i); v != int32(h.Seq)+int32(i) {
					t.Fatalf("sample %d has the value %d", h.Seq+uint64(i), v)
				}
			}
			all = append(all, span{stream: h.Stream, from: h.Seq, to: h.End()})
		case m.Type == protocol.TypeLost:
			var l protocol.Lost
			if err := json.Unmarshal(m.Payload, &l); err != nil {
				t.Fatal(err)
			}
			if l.From >= l.To || l.Cause != "slow_consumer" {
				t.Fatalf("lost %+v", l)
			}
			all = append(all, span{l.Stream, l.From, l.To, true})
		}
	}
	return all
}

// spans returns and forgets the received telemetry and losses.
func (p *peer) spans() []span {
	p.t.Helper()
	return spansOf(p.t, p.take())
}
