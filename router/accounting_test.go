package router

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/session"
)

// TestEverySampleIsAccountedFor sends telemetry with gaps that the devices
// left to front ends that read, that stall now and then, and that stall until
// the end. For each front end, received and reported lost samples together are
// exactly the sent ones, in order.
func TestEverySampleIsAccountedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		devices := []*peer{g.device("d1"), g.device("d2"), g.device("d3")}
		reads, stalls, stuck, listens := g.frontend("reads"), g.frontend("stalls"), g.frontend("stuck"), g.frontend("listens")
		listens.send(`{"type":"gateway.subscribe","payload":{"devices":["d2"]}}`)
		g.quiet()
		stuck.stall(true)

		sent := make([][]span, len(devices))
		var wg sync.WaitGroup
		var over atomic.Bool
		for i, d := range devices {
			wg.Go(func() { sent[i] = sendWithGaps(d, newRand(uint64(i))) })
		}
		var aside sync.WaitGroup
		aside.Go(func() {
			rng := newRand(99)
			for on := true; !over.Load(); on = !on {
				stalls.stall(on)
				time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
			}
			stalls.stall(false)
		})
		wg.Wait()
		over.Store(true)
		aside.Wait()
		stuck.stall(false)
		time.Sleep(time.Second)
		synctest.Wait()

		var lostByAll uint64
		for _, p := range []*peer{reads, stalls, stuck, listens} {
			var received, lost uint64
			got := map[uint32][]span{}
			for _, s := range p.spans() {
				got[s.stream] = append(got[s.stream], s)
				if s.lost {
					lost += s.to - s.from
				} else {
					received += s.to - s.from
				}
			}
			for i := range devices {
				want := joined(t, sent[i])
				if p == listens && i != 1 {
					want = nil
				}
				if have := joined(t, got[uint32(i+1)]); !slices.Equal(have, want) {
					t.Errorf("%s: stream %d does not add up:\nsent %v\ngot  %v", p.sess.Name(), i+1, want, have)
				}
			}
			t.Logf("%-7s received %d, lost %d", p.sess.Name(), received, lost)
			if (lost == 0) != (p == reads || p == listens) {
				t.Errorf("%s lost %d", p.sess.Name(), lost)
			}
			if h := p.sess.Health(); h.LostSamples != lost {
				t.Errorf("%s: health says %d lost", p.sess.Name(), h.LostSamples)
			}
			lostByAll += lost
		}
		if n := g.m.Stats().LostSamples.Load(); n != lostByAll {
			t.Errorf("the manager counted %d lost samples, the front ends %d", n, lostByAll)
		}
		var total uint64
		for i := range sent {
			for _, s := range sent[i] {
				total += s.to - s.from
			}
		}
		if n := g.r.Stats().SamplesIn.Load(); n != total {
			t.Errorf("the router counted %d samples, sent were %d", n, total)
		}
	}, func(_ *Options, so *session.Options) {
		so.TelemetryBytes, so.FlushInterval = 32<<10, time.Millisecond
	})
}

// sendWithGaps sends some thousand frames in reads of random length and
// returns their samples.
func sendWithGaps(d *peer, rng interface{ IntN(int) int }) []span {
	stream := *d.welcome.Stream
	var sent []span
	seq := uint64(rng.IntN(100))
	for range 300 {
		var frames [][]byte
		for range 1 + rng.IntN(20) {
			n := 1 + rng.IntN(30)
			if rng.IntN(40) == 0 {
				seq += uint64(1 + rng.IntN(5))
			}
			frames = append(frames, telemetry(seq, n))
			sent = append(sent, span{stream: stream, from: seq, to: seq + uint64(n)})
			seq += uint64(n)
		}
		d.sendBinary(frames...)
		time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
	}
	return sent
}

// joined joins consecutive spans, lost or not, and checks that no span starts
// before the end of the last.
func joined(t *testing.T, spans []span) []span {
	t.Helper()
	var out []span
	for _, s := range spans {
		s.lost = false
		if n := len(out); n > 0 {
			last := &out[n-1]
			if s.from < last.to {
				t.Fatalf("%+v after %+v", s, *last)
			}
			if s.from == last.to {
				last.to = s.to
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// TestChangingTheSubscriptionLosesNothing: a front end that changes between
// all devices and a list with the device is subscribed to the device all the
// time, and gets each of its samples once.
func TestChangingTheSubscriptionLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		var watchers []*peer
		for range 4 {
			watchers = append(watchers, g.frontend(""))
		}
		g.quiet()
		var over atomic.Bool
		var wg sync.WaitGroup
		for _, p := range watchers {
			wg.Go(func() {
				for !over.Load() {
					p.send(`{"type":"gateway.subscribe","payload":{"devices":["d1"]}}`)
					p.send(`{"type":"gateway.subscribe","payload":{"telemetry":"all"}}`)
				}
			})
		}
		const reads = 20_000
		for i := range uint64(reads) {
			d.sendBinary(telemetry(i, 1))
		}
		over.Store(true)
		wg.Wait()
		synctest.Wait()
		for _, p := range watchers {
			checkTiled(t, p.spans(), 1, 0, reads)
		}
	}, func(_ *Options, so *session.Options) { so.TelemetryBytes = 1 << 30 })
}
