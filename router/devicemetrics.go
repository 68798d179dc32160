package router

import (
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/session"
)

// DeviceMetrics is what the router knows of one device for a monitoring system.
// The counters begin when this node first hears of the device.
type DeviceMetrics struct {
	Device string
	// Online: the device is connected, to this node or another.
	Online bool
	// Remote: it is connected to another node, which knows its health.
	Remote bool
	// Health is the score of its connection here, 0 to 100; 0 without one.
	Health int
	// LastSeen is when this node last heard from the device itself; zero if never.
	LastSeen time.Time
	// SamplesIn counts the samples per channel that the device has sent to this
	// node.
	SamplesIn uint64
	// Dropped counts those that full queues of front ends here have dropped, for
	// each front end; LostBetweenNodes those that were lost on their way here from
	// another node, once each.
	Dropped, LostBetweenNodes uint64
}

// deviceCounters are counted without registry.mu.
type deviceCounters struct {
	samplesIn, dropped, lostBetweenNodes atomic.Uint64
}

// measuredDevices are the devices whose metrics are shown. Their number is
// bounded, because a device chooses its own name and each name costs a monitoring
// system memory for weeks. Guarded by registry.mu.
type measuredDevices struct {
	// limit is static.
	limit int
	list  []*device
	// next is where the search for a place to take over goes on.
	next int
	// known counts the devices that have connected, measured or not, and are not
	// forgotten.
	known int
}

// measuredGrace is how long a device that is offline keeps its place among those
// measured when others want it: an alert stays while it matters.
const measuredGrace = 24 * time.Hour

// DeviceMetrics returns the metrics of the devices that are measured, at most
// Options.DeviceMetrics, in no order, and how many known devices are not. A
// device gets a place when it connects, and keeps it as long as the node runs: a
// place is free again for another device when its own has been offline for a
// day.
func (r *Router) DeviceMetrics() (list []DeviceMetrics, omitted int) {
	list, sessions, omitted := r.registry.measurements()
	for i, s := range sessions {
		if s != nil {
			h := s.Health()
			list[i].Health, list[i].LastSeen = h.Score, lastHeard(h)
		}
	}
	return list, omitted
}

// measurements returns what is known without the sessions, and the sessions of
// devices that are connected here.
func (g *registry) measurements() (list []DeviceMetrics, sessions []*session.Session, omitted int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &g.measured
	list, sessions = make([]DeviceMetrics, len(m.list)), make([]*session.Session, len(m.list))
	for i, d := range m.list {
		sessions[i] = d.session
		x := &list[i]
		*x = DeviceMetrics{Device: d.id, Online: d.online(), Remote: d.session == nil && d.holder.remote != nil}
		if d.lastSeen != 0 {
			x.LastSeen = time.UnixMilli(d.lastSeen)
		}
		c := &d.counters
		x.SamplesIn, x.Dropped, x.LostBetweenNodes = c.samplesIn.Load(), c.dropped.Load(), c.lostBetweenNodes.Load()
	}
	return list, sessions, m.known - len(m.list)
}

// measure gives a device that has connected a place among those measured, if
// there is one. The caller holds mu.
func (g *registry) measure(d *device) {
	m := &g.measured
	if !d.known {
		d.known = true
		m.known++
	}
	if d.measured {
		return
	}
	if len(m.list) < m.limit {
		d.measured = true
		m.list = append(m.list, d)
		return
	}
	for range min(evictionScan, len(m.list)) {
		m.next = (m.next + 1) % len(m.list)
		if old := m.list[m.next]; !old.online() && time.Since(old.offlineSince) > measuredGrace {
			old.measured, d.measured = false, true
			m.list[m.next] = d
			return
		}
	}
}

// unmeasure forgets a device that has no place. The caller holds mu.
func (g *registry) unmeasure(d *device) {
	if d.known {
		g.measured.known--
	}
}

// lastHeard is when something arrived last of a session of that health.
func lastHeard(h session.Health) time.Time {
	return time.Now().Add(-time.Duration(h.SinceHeardMillis) * time.Millisecond)
}
