package session

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// wireFrame is one frame as the peer sees it.
type wireFrame struct {
	op      wsframe.Opcode
	payload []byte
}

// parseWire takes complete unmasked frames apart (RFC 6455 section 5.2). It is
// written anew here so that the tests do not trust what they test.
func parseWire(b []byte) (out []wireFrame) {
	for len(b) > 0 {
		if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
			panic(fmt.Sprintf("not an unmasked single frame: % x", b[:2]))
		}
		n, head := int(b[1]), 2
		switch n {
		case 126:
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			n, head = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		out = append(out, wireFrame{op: wsframe.Opcode(b[0] & 0x0f), payload: append([]byte{}, b[head:head+n]...)})
		b = b[head+n:]
	}
	return out
}

func (w wireFrame) String() string {
	switch w.op {
	case wsframe.OpText:
		if l, ok := w.lost(); ok {
			if l.Inexact {
				return fmt.Sprintf("lost:%d:%d of %d-%d:%s", l.Stream, l.Samples, l.From, l.To, l.Cause)
			}
			return fmt.Sprintf("lost:%d:%d-%d:%s", l.Stream, l.From, l.To, l.Cause)
		}
		return string(w.payload)
	case wsframe.OpBinary:
		h := w.header()
		return fmt.Sprintf("data:%d:%d-%d", h.Stream, h.Seq, h.End())
	case wsframe.OpClose:
		return fmt.Sprintf("close:%d:%s", binary.BigEndian.Uint16(w.payload), w.payload[2:])
	case wsframe.OpPing:
		return "ping"
	case wsframe.OpPong:
		return "pong:" + string(w.payload)
	}
	return fmt.Sprintf("opcode %d", w.op)
}

func (w wireFrame) lost() (l protocol.Lost, ok bool) {
	var m protocol.Message
	if w.op != wsframe.OpText || json.Unmarshal(w.payload, &m) != nil || m.Type != protocol.TypeLost {
		return l, false
	}
	return l, json.Unmarshal(m.Payload, &l) == nil
}

func (w wireFrame) header() (h protocol.TelemetryHeader) {
	if err := h.Parse(w.payload); err != nil {
		panic(err)
	}
	return h
}

// telemetry returns a frame with the samples [from, from+count) of one channel.
func telemetry(stream uint32, from uint64, count int) *Frame {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Stream: stream, Seq: from, DT: 100_000, Channels: 1, Count: uint16(count)}
	payload := append(h.Append(nil), make([]byte, 4*count)...)
	f := NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
	if !f.AppendTelemetry(payload, stream, from, from+uint64(count)) {
		panic("a frame refused its first telemetry")
	}
	return f
}

func sendTelemetry(s *Session, stream uint32, from uint64, count int) error {
	f := telemetry(stream, from, count)
	defer f.Release()
	return s.SendTelemetry(f, nil)
}

// tracked collects frames that never enter a pool, so that their references
// can be counted at the end.
type tracked struct {
	mu     sync.Mutex
	frames []*Frame
}

func (tr *tracked) add(f *Frame) *Frame {
	f.class = -1
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.frames = append(tr.frames, f)
	return f
}

// check fails unless each frame was released exactly as often as it was held.
func (tr *tracked) check(t testing.TB) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for i, f := range tr.frames {
		if n := f.refs.Load(); n != 0 {
			t.Fatalf("frame %d of %d (stream %d, samples %d to %d) has %d references at the end, want 0", i, len(tr.frames), f.stream, f.from, f.to, n)
		}
	}
}
