//go:build linux

package load

import (
	"encoding/json"
	"testing"

	"github.com/labgate/labgate/protocol"
)

var payloads = map[string]payload{"binary": newBinaryPayload(), "text": newTextPayload()}

func TestPayloadsCarryTheirFields(t *testing.T) {
	for name, p := range payloads {
		b := p.template()
		if len(b) != PayloadSize {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		for _, seq := range []uint64{0, 1, 1<<32 + 5} {
			p.put(b, seq, 1234567890123456789, 0)
			got, due, pair, ok := p.read(b)
			if !ok || got != seq || due != 1234567890123456789 || pair != 0 {
				t.Errorf("%s: %d, %d, %d, %v", name, got, due, pair, ok)
			}
		}
	}
	b := payloads["text"].template()
	payloads["text"].put(b, 7, 8, 199)
	if seq, due, pair, ok := payloads["text"].read(b); !ok || seq != 7 || due != 8 || pair != 199 {
		t.Errorf("text: %d, %d, %d, %v", seq, due, pair, ok)
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	for name, p := range payloads {
		b := p.template()
		p.put(b, 5, 6, 0)
		for i := range b {
			if name == "binary" && i >= offStream && i < offSeq {
				continue // the gateway's
			}
			c := append([]byte(nil), b...)
			c[i] ^= 0x40
			seq, due, pair, ok := p.read(c)
			if ok && seq == 5 && due == 6 && pair == 0 {
				t.Errorf("%s: byte %d", name, i)
			}
		}
		if _, _, _, ok := p.read(b[:len(b)-1]); ok {
			t.Errorf("%s: a message that is too short", name)
		}
	}
}

func TestPayloadsAreWhatLabgateTakes(t *testing.T) {
	b := payloads["binary"].template()
	payloads["binary"].put(b, 9, 10, 0)
	var h protocol.TelemetryHeader
	if err := h.Parse(b); err != nil || h.Seq != 9 || h.T0 != 10 || h.End() != 10 {
		t.Errorf("telemetry: %+v, %v", h, err)
	}
	b = payloads["text"].template()
	var e protocol.Envelope
	if err := e.Parse(b); err != nil || !json.Valid(b) {
		t.Errorf("envelope %q: %v", b, err)
	}
	routed := append([]byte(`{"src":"f1","dst":"d1",`), b[1:]...)
	if _, _, _, ok := payloads["text"].read(routed); !ok {
		t.Error("a routed envelope is not read")
	}
}

func TestCheckerCounts(t *testing.T) {
	var c checker
	var got tally
	for _, seq := range []uint64{0, 1, 4, 2, 4, 5} {
		c.take(seq, &got)
	}
	if want := (tally{received: 4, missing: 2, late: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
