package protocol

import (
	"bytes"
	"testing"
)

func FuzzEnvelope(f *testing.F) {
	for _, text := range validEnvelopes {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		``, `{}`, `[]`, `{"type":"a"}x`, `{"type":"a",}`, `{"type":"a","SRC":"b"}`, `{"type":"a","\u0073rc":"b"}`, `{"type":"a","ſrc":1}`,
		`{"type":"a","src":1,"src":2}`, `{"type":"a","ts":1e3}`, `{"type":"a","ts":01}`, `{"type":"a","x":"\u12g4"}`, "{\"type\":\"a\",\"x\":\"\xff\"}",
		`{"type":"a","id":null,"id":"1"}`, `{"type":null}`, `{"type":"a","ts":nul}`,
		`{"type":"a","1":[0,-1.5e3,"text",{"2":null}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkEnvelope(t, raw) })
}

func FuzzTelemetryHeader(f *testing.F) {
	for _, h := range []TelemetryHeader{
		{Kind: KindSamples, Format: FormatF32, Channels: 1, Count: 1},
		{Kind: KindSamples, Format: FormatI16, Flags: 255, Stream: 7, Seq: 1 << 60, T0: -1, DT: 100_000, Channels: 3, Count: 5},
		{Kind: KindBuckets, Format: FormatF64, Seq: 1<<64 - 5, Channels: 2, Count: 4},
	} {
		f.Add(append(h.Append(nil), make([]byte, h.BodySize())...))
	}
	f.Add([]byte{})
	f.Add(make([]byte, TelemetryHeaderSize))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var h TelemetryHeader
		if err := h.Parse(frame); err != nil {
			if h != (TelemetryHeader{}) {
				t.Fatalf("header changed by a refused frame: %+v", h)
			}
			return
		}
		if h.BodySize() != len(frame)-TelemetryHeaderSize || h.End() <= h.Seq || h.Channels == 0 || h.Count == 0 {
			t.Fatalf("accepted %+v with %d bytes", h, len(frame))
		}
		if again := h.Append(nil); !bytes.Equal(again, frame[:TelemetryHeaderSize]) {
			t.Fatalf("%x written as %x", frame[:TelemetryHeaderSize], again)
		}
	})
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"", "ut-01", "@frontends", "@user/alice", "@session/0a7e8f52-5b3c-4a94-9d42-8c1a7a6b3f10",
		"@", "@user/", "@session/x", "@Frontends", "-x", "a b", "ü", "@user/@user/x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseDestination(raw)
		if err != nil {
			if d.Kind != DstNone || d.Name != nil || len(err.Error()) > 300 {
				t.Fatalf("%+v with %v", d, err)
			}
			return
		}
		prefix := map[DstKind]string{DstNone: "", DstDevice: "", DstFrontends: "@frontends", DstUser: "@user/", DstSession: "@session/"}[d.Kind]
		if prefix+string(d.Name) != string(raw) {
			t.Fatalf("%q read as %d %q", raw, d.Kind, d.Name)
		}
		if named := d.Kind == DstDevice || d.Kind == DstUser || d.Kind == DstSession; named != ValidName(string(d.Name)) {
			t.Fatalf("%q read as %d %q", raw, d.Kind, d.Name)
		}
	})
}

func FuzzRenewal(f *testing.F) {
	for _, payload := range []string{``, `{}`, `{"token":"abc"}`, `{"token":1}`, `{"token":null}`, `[]`, `{"token":"a","token":"b"}`, `{"token":"\u0000"}`} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := ParseRenewal(payload)
		if err == nil && (len(r.Token) == 0 || len(r.Token) > MaxRenewalToken) || err != nil && r.Token != "" {
			t.Errorf("%d bytes of token, %v", len(r.Token), err)
		}
	})
}

func FuzzSubscription(f *testing.F) {
	f.Add([]byte(`{"telemetry":"all"}`))
	f.Add([]byte(`{"devices":["a","b"]}`))
	f.Add([]byte(`{"telemetry":"none","devices":[]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := ParseSubscription(payload)
		if err != nil {
			return
		}
		if (s.Telemetry == "") == (len(s.Devices) == 0) || len(s.Devices) > MaxSubscriptionDevices {
			t.Errorf("%q: %+v", payload, s)
		}
		for _, id := range s.Devices {
			if !ValidName(id) {
				t.Errorf("%q: device %q", payload, id)
			}
		}
	})
}
