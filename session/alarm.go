package session

import (
	"sync"
	"time"
)

const (
	// replaceLimit replacements of one device id within replaceWindow raise an
	// alarm: two machines share the id, or one reconnects in a loop.
	replaceLimit  = 5
	replaceWindow = time.Minute
	// growthEvery is how often the number of sessions is compared with its
	// moving average; growthFactor and growthSlack say what is unusual.
	growthEvery  = 30 * time.Second
	growthFactor = 2
	growthSlack  = 100
)

// churn watches for devices that replace themselves again and again.
type churn struct {
	// mu guards the map; a leaf.
	mu      sync.Mutex
	devices map[string]*replacements
	swept   int64
}

type replacements struct {
	since  int64
	count  int
	warned bool
}

func (c *churn) note(m *Manager, device string) {
	now := m.coarseNow()
	m.stats.Replacements.Add(1)
	c.mu.Lock()
	if c.devices == nil {
		c.devices = make(map[string]*replacements)
	}
	if now-c.swept > int64(replaceWindow) {
		c.swept = now
		for name, r := range c.devices {
			if now-r.since > int64(replaceWindow) {
				delete(c.devices, name)
			}
		}
	}
	r := c.devices[device]
	if r == nil || now-r.since > int64(replaceWindow) {
		r = &replacements{since: now}
		c.devices[device] = r
	}
	r.count++
	alarm := r.count > replaceLimit && !r.warned
	if alarm {
		r.warned = true
	}
	count := r.count
	c.mu.Unlock()
	if alarm {
		m.stats.ReplaceAlarms.Add(1)
		m.opts.Logger.Warn().Str("device", device).Int("replacements", count).Dur("window", replaceWindow).
			Msg("device id is replaced again and again: do two machines share it, or does one reconnect in a loop?")
	}
}

// growth watches the number of sessions for a leak or a reconnect loop. Its
// fields but the timer belong to the wheel's goroutine.
type growth struct {
	m       *Manager
	timer   Timer
	average float64
	primed  bool
	warned  bool
}

func (g *growth) arm(m *Manager) {
	g.m = m
	g.timer.Owner = g
	m.wheel.Schedule(&g.timer, time.Now().Add(growthEvery))
}

// Expire compares the number of sessions with its average and arms itself
// again.
func (g *growth) Expire(now time.Time) {
	n := float64(g.m.Len())
	if !g.primed {
		g.primed, g.average = true, n
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
	// An average over about ten minutes.
	g.average += (n - g.average) * float64(growthEvery) / float64(10*time.Minute)
	g.m.wheel.Schedule(&g.timer, now.Add(growthEvery))
}
