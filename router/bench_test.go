package router

import (
	"fmt"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// BenchmarkTelemetryFanOut is one device's telemetry to 200 front ends, from
// the read event to the write; an operation is one frame.
func BenchmarkTelemetryFanOut(b *testing.B) {
	const receivers = 200
	for _, perRead := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d_per_read", perRead), func(b *testing.B) {
			g := newGateway(b)
			sinks := make([]*sink, receivers)
			for i := range sinks {
				sinks[i] = g.sink(session.Info{Role: session.RoleFrontend})
			}
			d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
			frames := make([][]byte, perRead)
			for i := range frames {
				frames[i] = telemetry(0, 4)
			}
			size := uint64(wsframe.HeaderSize(len(frames[0]))+len(frames[0])) * uint64(perRead)
			seq := uint64(0)
			mark(sinks)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%perRead != 0 {
					continue
				}
				for _, frame := range frames {
					putSeq(frame, seq)
					seq += 4
				}
				d.read(wsframe.OpBinary, frames...)
				await(sinks, size)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/delivery")
		})
	}
}

// BenchmarkTelemetryUnwanted is a frame of a device without receivers.
func BenchmarkTelemetryUnwanted(b *testing.B) {
	g := newGateway(b)
	d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
	frame := telemetry(0, 4)
	b.ReportAllocs()
	for b.Loop() {
		d.read(wsframe.OpBinary, frame)
	}
}

// BenchmarkText reads, routes and writes one message, or a command and its
// answer.
func BenchmarkText(b *testing.B) {
	const payload = `"ts":1763720000123456,"payload":{"speed":12.5,"unit":"mm/min","limit_n":5000}}`
	for _, bm := range []struct{ name, ask, answer string }{
		{"unicast", `{"type":"test.start","dst":"d1",` + payload, ``},
		{"command", `{"type":"test.start","id":"c-00017","dst":"d1",` + payload, `{"type":"test.started","re":"c-00017",` + payload},
	} {
		b.Run(bm.name, func(b *testing.B) {
			g := newGateway(b)
			d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
			a := g.sink(session.Info{Role: session.RoleFrontend, Name: "alice"})
			ask, answer := []byte(bm.ask), []byte(bm.answer)
			b.ReportAllocs()
			for b.Loop() {
				a.read(wsframe.OpText, ask)
				if bm.answer != "" {
					d.read(wsframe.OpText, answer)
				}
			}
			if errs := g.r.Stats().Errors(); len(errs) != 0 {
				b.Error(errs)
			}
		})
	}
}

// BenchmarkFrontendStorm is a front end that connects and disconnects among
// many others, with 1000 devices in its welcome.
func BenchmarkFrontendStorm(b *testing.B) {
	for _, others := range []int{0, 1000, 10_000} {
		b.Run(fmt.Sprintf("among_%d", others), func(b *testing.B) {
			g := newGateway(b)
			for i := range 1000 {
				g.sink(session.Info{Role: session.RoleDevice, Name: fmt.Sprint("d", i)})
			}
			for range others {
				g.sink(session.Info{Role: session.RoleFrontend, Name: "alice"})
			}
			b.ReportAllocs()
			for b.Loop() {
				s, err := g.m.Add(session.Info{Role: session.RoleFrontend, Name: "bob"}, &sink{})
				if err != nil {
					b.Fatal(err)
				}
				s.TransportClosed(nil)
			}
		})
	}
}
