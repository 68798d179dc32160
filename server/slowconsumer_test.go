package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// account adds up what one front end was given of one stream.
type account struct {
	next, got, lost uint64
}

// TestStalledFrontend stops a front end while two devices send: another loses
// nothing, what waits stays bounded, and when it reads on, each gap was told
// before what follows it, to the sample.
func TestStalledFrontend(t *testing.T) {
	const (
		telemetryBytes, inflightBytes = 128 << 10, 64 << 10
		bursts, perBurst, samples     = 60, 40, 100
		total                         = bursts * perBurst * samples
	)
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, func(o *Options) {
			o.TelemetryBytes, o.InflightBytes, o.WriteTimeout = telemetryBytes, inflightBytes, time.Minute
		})
		transports := g.transports()
		g.start()
		devs := []*peer{g.upgrade("/ws/device/a"), g.upgrade("/ws/device/b")}
		fast := g.upgrade("/ws/frontend/fast")
		slow := g.upgradeNarrow("/ws/frontend/slow")
		stalled := transports.last()

		byStream := map[uint32]*account{}
		for _, dev := range devs {
			byStream[*dev.welcome.Stream] = &account{}
		}
		seq := uint64(0)
		for range bursts {
			var burst []byte
			for range perBurst {
				burst = wsframe.AppendMaskedFrame(burst, wsframe.OpBinary, 77, telemetry(seq, samples))
				seq += samples
			}
			for _, dev := range devs {
				dev.write(burst)
			}
			for range len(devs) * perBurst {
				f, err := fast.next()
				if err != nil || f.op != wsframe.OpBinary {
					t.Fatalf("the other front end: %v %.200q %v", f.op, f.data, err)
				}
				var h protocol.TelemetryHeader
				if err := h.Parse(f.data); err != nil {
					t.Fatal(err)
				}
				a := byStream[h.Stream]
				if h.Seq != a.next {
					t.Fatalf("the other front end: seq %d, want %d", h.Seq, a.next)
				}
				a.next = h.End()
			}
			// One write may go beyond, and TLS adds to each record.
			if n := stalled.Buffered(); n > inflightBytes+64<<10+8<<10 {
				t.Fatalf("%d bytes wait below the outbox", n)
			}
		}
		sess := g.manager.Get(uuidOf(t, slow))
		if h := sess.Health(); h.LostSamples == 0 || h.OutboxFill > 1 {
			t.Fatalf("health of the stalled session: %+v", h)
		}
		fast.text(`{"type":"second.word","dst":"@user/slow"}`)
		fast.text(`{"type":"first.word","dst":"@user/slow","urgent":true}`)
		fast.text(`{"type":"barrier","dst":"@user/fast"}`)
		fast.await("barrier")

		// Reading on.
		clear(byStream)
		for _, dev := range devs {
			byStream[*dev.welcome.Stream] = &account{}
		}
		var words []string
		after := 0
		for done := 0; done < len(devs); {
			f, err := slow.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == wsframe.OpBinary {
				var h protocol.TelemetryHeader
				if err := h.Parse(f.data); err != nil {
					t.Fatal(err)
				}
				a := byStream[h.Stream]
				if h.Seq != a.next {
					t.Fatalf("stream %d: seq %d came, %d was due and not reported lost", h.Stream, h.Seq, a.next)
				}
				a.got += h.End() - h.Seq
				if a.next = h.End(); a.next == total {
					done++
				}
				if len(words) == 2 {
					after++
				}
				continue
			}
			msg := slow.message(f)
			if msg.Type != protocol.TypeLost {
				words = append(words, msg.Type)
				continue
			}
			var l protocol.Lost
			if err := json.Unmarshal(msg.Payload, &l); err != nil {
				t.Fatal(err)
			}
			a := byStream[l.Stream]
			if l.From != a.next || l.To <= l.From || l.Cause != string(session.LossSlowConsumer) {
				t.Fatalf("lost %+v, %d was due", l, a.next)
			}
			a.lost += l.To - l.From
			a.next = l.To
		}
		for stream, a := range byStream {
			if a.lost == 0 || a.got+a.lost != total {
				t.Errorf("stream %d: %d received and %d reported lost of %d", stream, a.got, a.lost, total)
			}
		}
		if !slices.Equal(words, []string{"first.word", "second.word"}) {
			t.Errorf("words came as %v", words)
		}
		if after < perBurst {
			t.Errorf("only %d frames of the backlog came after the urgent message", after)
		}
		g.eventually("nothing waits any more", func() bool { return stalled.Buffered() == 0 && sess.Health().OutboxFill == 0 })
		fast.text(`{"type":"third.word","dst":"@user/slow"}`)
		slow.await("third.word")
		// The peer may have the bytes before that is booked.
		g.eventually("nothing is booked as waiting", func() bool { return stalled.Buffered() == 0 })
	})
}

// TestControlOverflow fills a stalled front end's control queue: it is closed
// with 4004, and nobody else is.
func TestControlOverflow(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, func(o *Options) { o.ControlBytes, o.InflightBytes, o.WriteTimeout = 64<<10, 16<<10, time.Minute })
		g.tuneSessions = func(o *session.Options) { o.CloseGrace = patience }
		g.start()
		dev := g.upgrade("/ws/device/d")
		fe := g.upgrade("/ws/frontend/fast")
		slow := g.upgradeNarrow("/ws/frontend/slow")
		filler := strings.Repeat("x", 4000)
		for i := 0; g.manager.Len() == 3; i++ {
			dev.text(`{"type":"log.line","id":"%d","dst":"@user/slow","payload":%q}`, i, filler)
			dev.text(`{"type":"log.line","dst":"@user/fast","payload":%d}`, i)
			if l := fe.await("log.line"); string(l.Payload) != fmt.Sprint(i) {
				t.Fatalf("line %s, want %d", l.Payload, i)
			}
			if i > 10_000 {
				t.Fatal("the queue takes everything")
			}
		}
		// What was not sent is dropped; what was, is in order.
		want := 0
		for {
			f, err := slow.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == wsframe.OpClose {
				code, reason := wsframe.ParseClose(f.data)
				if code != uint16(protocol.CloseSlowConsumer) || reason != "slow_consumer" {
					t.Errorf("closed with %d %q", code, reason)
				}
				break
			}
			if msg := slow.message(f); msg.ID != fmt.Sprint(want) {
				t.Fatalf("line %s came, want %d", msg.ID, want)
			}
			want++
		}
		slow.sendClose(uint16(protocol.CloseSlowConsumer))
		slow.expectEnd()
		if n := g.manager.Stats().Closes()["slow_consumer"]; n != 1 {
			t.Errorf("%d sessions closed as slow consumers", n)
		}
	})
}

// TestWriteDeadline stalls a peer of each blocking mode: its session ends at
// the write deadline, and it holds up nobody.
func TestWriteDeadline(t *testing.T) {
	for _, m := range modes {
		if m.poller() {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, m, func(o *Options) { o.WriteTimeout, o.TelemetryBytes = 500*time.Millisecond, 4<<20 })
			// In mixed mode the first two connections are blocking ones.
			slow := g.upgradeNarrow("/ws/frontend/slow")
			fast := g.upgrade("/ws/frontend/fast")
			dev := g.upgrade("/ws/device/d")
			s := stream{t: t, number: *dev.welcome.Stream}
			for g.manager.Len() == 3 {
				dev.send(wsframe.OpBinary, telemetry(s.next, 1000))
				for want := s.frames + 1; s.frames < want; {
					f, err := fast.next()
					if err != nil {
						t.Fatal(err)
					}
					if f.op == wsframe.OpBinary {
						s.take(f.data)
					}
				}
			}
			if closes, errs := g.manager.Stats().Closes(), g.manager.Stats().WriteErrors.Load(); closes[session.ReasonConnectionLost] != 1 || errs != 1 {
				t.Errorf("ended sessions %v, write errors %d", closes, errs)
			}
			_ = slow
		})
	}
}
