package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestGapAfterEachSample: a device that leaves a gap after each sample makes a
// loss of its own of each frame that gives way. However many there are, the
// receiver stays, and received + told = sent.
func TestGapAfterEachSample(t *testing.T) {
	for _, samples := range []int{1000, maxLostRanges, 100_000} {
		t.Run(fmt.Sprint(samples), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.TelemetryBytes = 2000
				m := newTestManager(t, opts)
				s, f := stalled(t, m)
				send := func(i int) {
					if err := sendTelemetry(s, 3, uint64(10*i), 1); err != nil {
						t.Fatalf("sample %d: %v", i, err)
					}
				}
				for i := range samples {
					send(i)
				}
				if n := len(s.out.lost.ranges); n > maxLostRanges {
					t.Errorf("%d ranges remembered, at most %d allowed", n, maxLostRanges)
				}
				time.Sleep(10 * wheelTick)
				f.stall(false)
				send(samples)
				for range 2000 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
				if !s.Open() {
					t.Fatalf("the receiver was closed: %v", m.Stats().Closes())
				}
				var received, told, next uint64
				news := 0
				for _, w := range parseWire(f.wire) {
					l, ok := w.lost()
					if !ok {
						h := w.header()
						if h.Seq < next {
							t.Fatalf("sample %d came although everything below %d was told", h.Seq, next)
						}
						received += uint64(h.Count)
						continue
					}
					if l.From < next || l.To <= l.From || l.To > uint64(10*samples) || l.Inexact != (samples > maxLostRanges) {
						t.Fatalf("told %+v, everything below %d was told before", l, next)
					}
					told += l.Count()
					next = l.To
					news++
				}
				equal(t, "received and told", received+told, samples+1)
				equal(t, "counted", s.Health().LostSamples, told)
				if samples > maxLostRanges && news != 1 {
					t.Errorf("%d messages of one stream's losses, want 1", news)
				}
			})
		})
	}
}

// TestLossesOfTooManyStreams: a receiver that loses telemetry of more streams
// than can be remembered is closed.
func TestLossesOfTooManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, _ := stalled(t, m)
		for i := range maxLostRanges {
			s.ReportLoss(uint32(i), 0, 1, 1, LossBus)
		}
		s.ReportLoss(5, 10, 11, 1, LossBus)
		time.Sleep(2 * wheelTick)
		if !s.Open() {
			t.Fatal("closed although every stream's loss can be told")
		}
		s.ReportLoss(maxLostRanges, 5, 6, 1, LossBus)
		time.Sleep(2 * wheelTick)
		if s.Open() || m.Stats().Closes()["slow_consumer"] != 1 {
			t.Error("open although a loss can no longer be told")
		}
	})
}

// TestInexactLoss has losses of two causes, gaps between them and a device that
// starts its numbering over, behind as many others as make all of them coarse.
func TestInexactLoss(t *testing.T) {
	var l lossLedger
	for i := range maxLostRanges - 1 {
		l.add(exactLoss(9, uint64(2*i), uint64(2*i+1), LossBus))
	}
	for _, r := range []lostRange{
		exactLoss(1, 100, 110, LossSlowConsumer), // the last one that still fits
		exactLoss(1, 110, 120, LossSlowConsumer), // its neighbour
		exactLoss(2, 0, 5, LossBus),              // too many from here on
		exactLoss(1, 120, 130, LossBus),
		exactLoss(1, 130, 140, LossSlowConsumer),
		exactLoss(2, 5, 9, LossBus),
		exactLoss(1, 0, 10, LossSlowConsumer), // numbering starts over
	} {
		if !l.add(r) {
			t.Fatalf("%+v was not taken", r)
		}
	}
	var told []string
	for _, w := range parseWire(l.takeInto(nil, 1<<20)) {
		told = append(told, w.String())
	}
	equal(t, "told", told, []string{
		fmt.Sprintf("lost:9:%d of 0-%d:bus", maxLostRanges-1, 2*maxLostRanges-3),
		"lost:1:40 of 0-140:slow_consumer", "lost:2:0-9:bus", "lost:1:120-130:bus",
	})
}

// TestLedgerTellsEveryLoss adds losses at random, takes news in between, and
// expects for each stream and cause as many samples as were lost, and each lost
// sample within what was told.
func TestLedgerTellsEveryLoss(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		streams := 1 + rng.IntN(1000)
		next := make(map[uint32]uint64)
		lost, told := make(map[coarseKey]uint64), make(map[coarseKey]uint64)
		var open []lostRange // lost and not told
		var l lossLedger
		tell := func(room int) {
			for _, w := range parseWire(l.takeInto(nil, room)) {
				news, ok := w.lost()
				if !ok {
					t.Fatalf("not a loss: %s", w)
				}
				told[coarseKey{news.Stream, LossCause(news.Cause)}] += news.Count()
				kept := open[:0]
				covered := uint64(0)
				for _, r := range open {
					if r.stream == news.Stream && string(r.cause) == news.Cause && r.from >= news.From && r.to <= news.To && covered+r.samples <= news.Count() {
						covered += r.samples
						continue
					}
					kept = append(kept, r)
				}
				if open = kept; covered != news.Count() {
					t.Fatalf("seed %d: %s tells of %d samples, of which %d were lost and not told before", seed, w, news.Count(), covered)
				}
			}
		}
		for range 3 * maxLostRanges {
			stream := uint32(rng.IntN(streams))
			switch rng.IntN(10) {
			case 0:
				next[stream] = uint64(rng.IntN(1000)) // starts over, or a large gap
			case 1, 2, 3, 4, 5, 6:
				next[stream] += uint64(1 + rng.IntN(5))
			}
			n := uint64(1 + rng.IntN(9))
			r := exactLoss(stream, next[stream], next[stream]+n, []LossCause{LossBus, LossSlowConsumer}[rng.IntN(2)])
			next[stream] += n
			if !l.add(r) {
				t.Fatalf("seed %d: the ledger is full with %d streams", seed, streams)
			}
			open = append(open, r)
			lost[coarseKey{r.stream, r.cause}] += n
			if len(l.ranges) > maxLostRanges {
				t.Fatalf("%d ranges", len(l.ranges))
			}
			if rng.IntN(maxLostRanges) == 0 {
				tell(rng.IntN(2000))
			}
		}
		for l.pending() {
			tell(1 << 20)
		}
		for key, n := range lost {
			if told[key] != n {
				t.Fatalf("seed %d: %+v lost %d samples, %d were told", seed, key, n, told[key])
			}
		}
		if len(open) > 0 {
			t.Fatalf("seed %d: %d losses were not told, the first is %+v", seed, len(open), open[0])
		}
	}
}
