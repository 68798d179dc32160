package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func TestManyFramesOneWrite(t *testing.T) {
	tests := []struct {
		name   string
		queue  func(s *Session)
		frames int
	}{
		{"telemetry", func(s *Session) {
			for i := range 100 {
				_ = sendTelemetry(s, 1, uint64(i), 1)
			}
		}, 100},
		{"control by Schedule", func(s *Session) {
			for range 100 {
				_ = sendText(s, "x", false)
				s.Schedule()
			}
		}, 100},
		{"control by Flush", func(s *Session) {
			for range 100 {
				_ = sendText(s, "x", false)
			}
			s.Flush()
		}, 100},
		{"control by FlushAfterRead", func(s *Session) {
			for range 100 {
				_ = sendText(s, "x", false)
				s.FlushAfterRead(s)
			}
			s.EndRead()
		}, 100},
		{"everything", func(s *Session) {
			for i := range 40 {
				_ = sendTelemetry(s, 1, uint64(i), 1)
				_ = sendText(s, "c", false)
				_ = sendText(s, "u", true)
			}
			s.Flush()
		}, 120},
	}
	for _, tt := range tests {
		for _, blocking := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, blocking=%v", tt.name, blocking), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTestManager(t, testOptions())
					info := frontend
					info.Blocking = blocking
					s, f := connect(t, m, info)
					if tt.name == "control by Schedule" {
						// The flusher may run between any two of them: keep it
						// from writing until all are there.
						f.buffered.Store(1 << 30)
						s.Flush()
						synctest.Wait()
					}
					tt.queue(s)
					f.progress(1 << 40)
					time.Sleep(m.opts.FlushInterval)
					synctest.Wait()
					equal(t, "frames", len(f.sent()), tt.frames)
					writes, _, _ := f.counts()
					equal(t, "writes", writes, 1)
					equal(t, "counted writes", m.Stats().Writes.Load(), 1)
				})
			})
		}
	}
}

func TestWritesAreSplitAtWriteSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.InflightBytes = 1 << 30
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		var sizes []int
		f.onWrite = func(b []byte) { sizes = append(sizes, len(b)) }
		for i := range 20 {
			_ = sendTelemetry(s, 1, uint64(i*2000), 2000) // 8 KiB each
		}
		_ = sendText(s, strings.Repeat("x", 300_000), false)
		s.Flush()
		for i, n := range sizes {
			if n > writeSize && i > 0 {
				t.Errorf("write %d has %d bytes, want at most %d", i, n, writeSize)
			}
		}
		equal(t, "writes: a giant, and 20 frames of 8 KiB, 8 at a time at most", len(sizes), 4)
	})
}

// TestTelemetryWaitsForCompany: not at all for control, and for telemetry no
// longer than the flush interval from its first frame on.
func TestTelemetryWaitsForCompany(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		for _, interval := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
			t.Run(fmt.Sprintf("blocking=%v, interval=%v", blocking, interval), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := testOptions()
					opts.FlushInterval = interval
					m := newTestManager(t, opts)
					info := frontend
					info.Blocking = blocking
					s, f := connect(t, m, info)
					for round := range uint64(5) {
						_ = sendTelemetry(s, 1, 10*round, 5)
						synctest.Wait()
						if interval > 0 {
							equal(t, "at once", len(f.sent()), 4*round)
							time.Sleep(interval - time.Microsecond)
							_ = sendTelemetry(s, 1, 10*round+5, 5)
							synctest.Wait()
							equal(t, "just before the interval", len(f.sent()), 4*round)
							time.Sleep(time.Microsecond)
						} else {
							equal(t, "at once", len(f.sent()), 4*round+1)
							_ = sendTelemetry(s, 1, 10*round+5, 5)
						}
						synctest.Wait()
						equal(t, "at the interval", len(f.sent()), 4*round+2)

						_ = sendTelemetry(s, 1, 10*round+10, 5)
						_ = sendText(s, "control", false)
						s.Flush()
						synctest.Wait()
						equal(t, "with control, at once", len(f.sent()), 4*round+4)
						time.Sleep(time.Second)
					}
				})
			})
		}
	}
}

// TestTelemetryAfterAPause: when nothing was sent for the flush interval,
// telemetry leaves at once, also to a front end that itself has just sent a
// message.
func TestTelemetryAfterAPause(t *testing.T) {
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("flushed by the device's read=%v", direct), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, testOptions())
				s, f := connect(t, m, frontend)
				d, dev := connect(t, m, device("tensile-1"))
				by := d
				if !direct {
					by = nil
				}
				batch := func(from uint64) {
					f.read(func(s *Session) { _ = s.HandleMessage(1, []byte("{}")) })
					dev.read(func(d *Session) {
						data := telemetry(1, from, 1)
						data.SetArrival(d)
						_ = s.SendTelemetry(data, by)
						data.Release()
					})
					synctest.Wait()
				}
				for i := range uint64(5) {
					time.Sleep(m.opts.FlushInterval)
					batch(2 * i)
					equal(t, "after a pause, at once", len(f.sent()), 2*i+1)
					batch(2*i + 1)
					equal(t, "right behind", len(f.sent()), 2*i+1)
					time.Sleep(m.opts.FlushInterval)
					synctest.Wait()
					equal(t, "at the interval", len(f.sent()), 2*i+2)
				}
			})
		})
	}
}

// TestMuchTelemetryDoesNotWait: a receiver that takes more than its queue holds in
// a flush interval is served before it is full, and one that takes nothing does
// not keep the flusher busy.
func TestMuchTelemetryDoesNotWait(t *testing.T) {
	const samples = 2000 // 8 KiB
	for _, blocking := range []bool{false, true} {
		t.Run(fmt.Sprintf("blocking=%v", blocking), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.FlushInterval = time.Second
				m := newTestManager(t, opts)
				info := frontend
				info.Blocking = blocking
				s, f := connect(t, m, info)
				sent := uint64(0)
				few := true
				send := func() {
					data := telemetry(1, sent*samples, samples)
					if few {
						data.AllowEarlyFlush()
					}
					_ = s.SendTelemetry(data, nil)
					data.Release()
					sent++
					synctest.Wait()
				}
				for sent*samples*4 < uint64(m.opts.TelemetryBytes)/earlyFlushDivisor-samples*4 {
					send()
				}
				equal(t, "before a quarter waits", len(f.sent()), 0)
				send()
				equal(t, "then, at once", len(f.sent()), int(sent))
				for range 300 {
					send()
				}
				equal(t, "lost", m.Stats().LostSamples.Load(), 0)
				time.Sleep(time.Second)
				synctest.Wait()
				few = false
				before := len(f.sent())
				for range 50 {
					send()
				}
				equal(t, "sent of what goes to many, before the interval", len(f.sent())-before, 0)
			})
		})
	}
	t.Run("stalled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			opts := testOptions()
			opts.FlushInterval = time.Second
			m := newTestManager(t, opts)
			s, f := connect(t, m, frontend)
			f.stall(true)
			_ = sendText(s, strings.Repeat("x", m.opts.InflightBytes), false)
			_ = sendText(s, "too much", false)
			s.Flush()
			looks := 0
			f.onLook = func() { looks++ }
			for i := range uint64(300) {
				data := telemetry(1, i*samples, samples)
				data.AllowEarlyFlush()
				_ = s.SendTelemetry(data, nil)
				data.Release()
				synctest.Wait()
			}
			equal(t, "times that the flusher came in vain", looks, 0)
		})
	})
}

// TestTelemetryDuringAWrite: what comes while a write is under way keeps the
// promise of the interval.
func TestTelemetryDuringAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		once := true
		f.onWrite = func([]byte) {
			if once {
				once = false
				_ = sendTelemetry(s, 1, 5, 5)
				_ = sendText(s, "no flush of its own yet", false)
			}
		}
		_ = sendTelemetry(s, 1, 0, 5)
		time.Sleep(opts.FlushInterval)
		synctest.Wait()
		equal(t, "after the first write", f.sentText(), "data:1:0-5")
		s.Schedule()
		synctest.Wait()
		equal(t, "after Schedule", f.sentText(), "data:1:0-5 no flush of its own yet data:1:5-10")
	})
}

// TestFlushDoesNotQueueAgain: sends that are flushed by their senders do not
// pile up in the flusher's list.
func TestFlushDoesNotQueueAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := connect(t, m, frontend)
		for i := range 1000 {
			_ = sendTelemetry(s, 1, uint64(i), 1)
			s.Flush()
		}
		fl := s.flusher
		fl.mu.Lock()
		queued := len(fl.now) + len(fl.later)
		fl.mu.Unlock()
		if queued > 2 {
			t.Errorf("one session is queued %d times", queued)
		}
		equal(t, "frames", len(f.sent()), 1000)
		time.Sleep(time.Second)
		_ = sendTelemetry(s, 1, 1000, 1)
		time.Sleep(m.opts.FlushInterval)
		synctest.Wait()
		equal(t, "frames", len(f.sent()), 1001)
	})
}

func TestStallAndWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.InflightBytes = 1000
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		f.stall(true)
		text := strings.Repeat("x", 98)
		for range 50 {
			_ = sendText(s, text, false)
			s.Flush()
		}
		time.Sleep(time.Second)
		equal(t, "bytes on their way", f.Buffered(), 1000)

		f.progress(499)
		synctest.Wait()
		equal(t, "more than half is still on its way", f.Buffered(), 501)
		f.progress(1)
		synctest.Wait()
		equal(t, "filled up after half was taken", f.Buffered(), 1000)
		for range 20 {
			f.progress(600)
			synctest.Wait()
		}
		equal(t, "frames in the end", len(f.sent()), 50)
	})
}

// TestCallbacksFromInsideTheTransport: Writable and TransportClosed come with
// the transport's own lock held, on the goroutine that writes or closes.
func TestCallbacksFromInsideTheTransport(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		for name, end := range map[string]func(s *Session, f *fake){
			"close":         func(s *Session, _ *fake) { s.Close(protocol.CloseNormal, "") },
			"fail":          func(s *Session, _ *fake) { s.Fail(protocol.CloseInternal, "") },
			"peer closes":   func(s *Session, _ *fake) { _ = s.HandleControl(8, nil) },
			"write fails":   func(s *Session, f *fake) { f.setFail(errFake); _ = sendText(s, "x", false); s.Flush() },
			"close of both": func(s *Session, f *fake) { s.Close(protocol.CloseNormal, ""); _ = f.Close() },
		} {
			t.Run(fmt.Sprintf("%s, blocking=%v", name, blocking), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := testOptions()
					opts.InflightBytes = 10
					causes := 0
					on(&opts).disconnect = func(*Session, Cause) { causes++ }
					m := newTestManager(t, opts)
					info := frontend
					info.Blocking = blocking
					s, f := connect(t, m, info, func(f *fake) { f.locked = true })
					f.stall(true)
					for range 3 {
						_ = sendText(s, strings.Repeat("x", 20), false)
						s.Flush()
					}
					f.stall(false)
					end(s, f)
					synctest.Wait()
					time.Sleep(m.opts.CloseGrace + wheelTick)
					synctest.Wait()
					equal(t, "causes", causes, 1)
					equal(t, "open transports", m.transports.Load(), 0)
					if _, closes, _ := f.counts(); closes == 0 {
						t.Error("the transport was not closed")
					}
				})
			})
		}
	}
}

func TestFailedWriteEndsTheSession(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := testOptions()
			var causes []string
			on(&opts).disconnect = func(_ *Session, c Cause) {
				causes = append(causes, fmt.Sprintf("%d %s %s", c.Code, c.Reason, c.Detail))
			}
			m := newTestManager(t, opts)
			info := device("d")
			info.Blocking = blocking
			s, f := connect(t, m, info)
			var tr tracked
			f.setFail(errFake)
			for range 5 {
				text := tr.add(NewTextFrame([]byte("x")))
				_ = s.Send(text, false)
				text.Release()
			}
			s.Flush()
			synctest.Wait()
			equal(t, "causes", causes, "[1006 connection_lost fake: connection reset]")
			if s.Open() || m.ByDevice("d") != nil || m.Get(s.ID()) != nil || !f.closed() {
				t.Error("a session whose write failed is still there")
			}
			equal(t, "write errors", m.Stats().WriteErrors.Load(), 1)
			tr.check(t)
		})
	}
}

func TestStretchedInterval(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct{ interval, round, want time.Duration }{
		{ms, 0, ms},
		{ms, 400 * time.Microsecond, ms},
		{ms, 600 * time.Microsecond, 1050 * time.Microsecond},
		{ms, time.Second, 4 * ms},
		{0, time.Second, 0},
		{5 * ms, 4 * ms, 7 * ms},
	} {
		equal(t, fmt.Sprintf("%v, a round of %v", tt.interval, tt.round), stretchedInterval(tt.interval, tt.round), tt.want)
	}
}
