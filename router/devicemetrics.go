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
	// Remote: the device is connected to another node. Only that node knows the
	// device's health.
	Remote bool
	// Health is the health score of the device's connection to this node, 0 to
	// 100; 0 without a connection.
	Health int
	// LastSeen is the time at which something last arrived from the device on a
	// connection to this node; zero if never.
	LastSeen time.Time
	// SamplesIn counts the samples per channel that the device has sent to this
	// node.
	SamplesIn uint64
	// Dropped counts samples that were dropped because the queue of a front end on
	// this node was full. A sample counts once for each front end that missed it.
	// LostBetweenNodes counts samples that were lost on the way from another node
	// to this node. Each lost sample counts once.
	Dropped, LostBetweenNodes uint64
}

// deviceCounters has the counters of a device. They need no lock.
type deviceCounters struct {
	samplesIn, dropped, lostBetweenNodes atomic.Uint64
}

// measuredDevices has the measured devices, which are the devices whose metrics
// the gateway shows. The number of measured devices is bounded, because devices
// choose their own names, and each name costs a monitoring system memory for
// weeks. Guarded by registry.mu.
type measuredDevices struct {
	// limit bounds the list; static.
	limit int
	list  []*device
	// next is the index in list at which the next search for a device to replace
	// continues.
	next int
	// known counts the devices that have connected, here or to another node, and
	// still have an entry in the registry, measured or not.
	known int
}

// measuredGrace is the time for which an offline device remains measured when the
// list is full. An alert for the device remains active in this time.
const measuredGrace = 24 * time.Hour

// DeviceMetrics returns the metrics of the measured devices, at most
// Options.DeviceMetrics, in no order. omitted is the number of known devices that
// are not measured. A device becomes measured when it connects, if the list has
// room. When the list is full, the device replaces a measured device that has been
// offline for more than a day.
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

// measurements returns the metrics of the measured devices, without the values
// that only a session knows, and the session of each device, nil when the device
// is not connected here.
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

// measure makes a device that has connected a measured device, if the list has
// room or a device that can be replaced. The caller holds mu.
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

// unmeasure subtracts a device that is not measured from the known devices,
// because its entry is about to be removed. The caller holds mu.
func (g *registry) unmeasure(d *device) {
	if d.known {
		g.measured.known--
	}
}

// lastHeard returns the time at which something last arrived on a session with
// this health.
func lastHeard(h session.Health) time.Time {
	return time.Now().Add(-time.Duration(h.SinceHeardMillis) * time.Millisecond)
}
