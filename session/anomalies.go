package session

import (
	"sync"
	"time"
)

const (
	// replaceLimit is the number of replacements of one device id within
	// replaceWindow that are normal. The Manager logs and counts an excess: two
	// machines share the id, or one machine reconnects in a loop.
	replaceLimit  = 5
	replaceWindow = time.Minute
	// growthInterval is the time between two comparisons of the number of sessions
	// with its moving average. A number above growthFactor times the average plus
	// growthSlack is unusual.
	growthInterval = 30 * time.Second
	growthFactor   = 2
	growthSlack    = 100
	// growthAverage is the time constant of the moving average.
	growthAverage = 10 * time.Minute
)

// replacementMonitor finds device ids whose session is replaced too often.
type replacementMonitor struct {
	// mu guards the rest; a leaf.
	mu      sync.Mutex
	devices map[string]*replacements
	swept   int64 // time of the last removal of outdated entries; Manager time, ns
}

// replacements counts the replacements of one device within a window.
type replacements struct {
	since  int64 // start of the window; Manager time, ns
	count  int
	warned bool
}

// count counts a replacement of the device's session, and raises the alarm.
func (rm *replacementMonitor) count(m *Manager, device string) {
	now := m.now()
	m.stats.Replacements.Add(1)
	rm.mu.Lock()
	rm.sweep(now)
	r := rm.devices[device]
	if r == nil || now-r.since > int64(replaceWindow) {
		r = &replacements{since: now}
		rm.devices[device] = r
	}
	r.count++
	warn := r.count > replaceLimit && !r.warned
	if warn {
		r.warned = true
	}
	count := r.count
	rm.mu.Unlock()
	if warn {
		m.stats.ReplaceAlarms.Add(1)
		m.opts.Logger.Warn().Str("device", device).Int("replacements", count).Dur("window", replaceWindow).
			Msg("device id is replaced again and again: do two machines share it, or does one reconnect in a loop?")
	}
}

// sweep removes outdated entries once in each window. The caller holds mu.
func (rm *replacementMonitor) sweep(now int64) {
	if rm.devices == nil {
		rm.devices = make(map[string]*replacements)
	}
	if now-rm.swept <= int64(replaceWindow) {
		return
	}
	rm.swept = now
	for name, r := range rm.devices {
		if now-r.since > int64(replaceWindow) {
			delete(rm.devices, name)
		}
	}
}

// growthMonitor compares the number of sessions with its moving average, to find
// a leak or clients that reconnect in a loop. All fields but the timer belong to
// the wheel's goroutine.
type growthMonitor struct {
	m       *Manager
	timer   Timer
	average float64
	started bool
	warned  bool
}

func (g *growthMonitor) start(m *Manager) {
	g.m = m
	g.timer.Owner = g
	m.wheel.Schedule(&g.timer, time.Now().Add(growthInterval))
}

// Expire compares the number of sessions with the average and schedules the next
// comparison.
func (g *growthMonitor) Expire(now time.Time) {
	n := float64(g.m.Len())
	if !g.started {
		g.started, g.average = true, n
	}
	if n > growthFactor*g.average+growthSlack {
		if !g.warned {
			g.warned = true
			g.m.stats.GrowthAlarms.Add(1)
			g.m.opts.Logger.Warn().Int("sessions", int(n)).Int("average", int(g.average)).
				Msg("unusual growth of sessions: a leak, or clients that reconnect in a loop?")
		}
	} else {
		g.warned = false
	}
	g.average += (n - g.average) * float64(growthInterval) / float64(growthAverage)
	g.m.wheel.Schedule(&g.timer, now.Add(growthInterval))
}
