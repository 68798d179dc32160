package protocol

import "testing"

// What a front end sends: 128 bytes.
const benchEnvelope = `{"type":"test.start","id":"c-00017","dst":"ut-01","ts":1763720000123456,"payload":{"speed":12.5,"unit":"mm/min","limit_n":5000}}`

func BenchmarkParse(b *testing.B) {
	raw := []byte(benchEnvelope)
	var e Envelope
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndSplice(b *testing.B) {
	for _, bm := range []struct {
		name, text string
		splice     Splice
	}{
		{"insert", benchEnvelope, Splice{Src: "alice"}},
		{"replace", `{"src":"x",` + benchEnvelope[1:], Splice{Src: "alice", ID: "q7Zk-19"}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			raw := []byte(bm.text)
			dst := make([]byte, 0, 1024)
			var e Envelope
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Parse(raw); err != nil {
					b.Fatal(err)
				}
				dst = e.AppendSpliced(dst[:0], bm.splice)
			}
		})
	}
}

func BenchmarkParseLargePayload(b *testing.B) {
	text := `{"type":"report.file","payload":{"data":"`
	for range 1000 {
		text += "QmFzZTY0IHRleHQg"
	}
	raw := []byte(text + `"}}`)
	var e Envelope
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessageAppend(b *testing.B) {
	m := Message{Type: "test.start", ID: "c-000017", Dst: "ut-01", TS: 1763720000123456, Payload: []byte(`{"speed":12.5}`)}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = m.Append(dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTelemetryHeaderParse(b *testing.B) {
	h := TelemetryHeader{Kind: KindSamples, Format: FormatF32, Seq: 1 << 40, DT: 100_000, Channels: 4, Count: 100}
	frame := append(h.Append(nil), make([]byte, h.BodySize())...)
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Parse(frame); err != nil {
			b.Fatal(err)
		}
		StampStream(frame, 7)
	}
}
