package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// growth is by how many percent the heap grows before the next garbage
	// collection: 50 instead of Go's default of 100. Thousands of connections
	// then need less memory, which matters on small machines.
	growth = 50
	// With other nodes the heap always grows by at least leastGrowth bytes, and
	// by at most mostGrowth percent. Data from Redis is garbage as soon as the
	// front ends have received the data. With half of a few MiB in reserve, a
	// busy gateway would collect garbage dozens of times a second, which takes
	// a quarter of its CPU.
	leastGrowth = 8 << 20
	mostGrowth  = 400
)

// collectEarly makes the garbage collector keep a smaller reserve than Go's
// default, until stop is called. With GOGC in the environment collectEarly
// changes nothing.
func collectEarly(clustered bool) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(growth)
	c := &collector{}
	if clustered {
		c.adjust()
	}
	return func() {
		c.stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// collector sets the garbage collector's target after each collection. A
// collector has no goroutine.
type collector struct {
	percent atomic.Int64 // as last set
	stopped atomic.Bool
}

func (c *collector) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if p := growthFor(live[0].Value.Uint64()); c.percent.Swap(int64(p)) != int64(p) {
		debug.SetGCPercent(p)
	}
	// The cleanup of an unreachable object runs after the next collection.
	runtime.AddCleanup(new([64]byte), func(c *collector) {
		if !c.stopped.Load() {
			c.adjust()
		}
	}, c)
}

// growthFor returns by how many percent a heap with live bytes in use may grow.
// The result changes in steps, because each change stops the gateway for a
// moment.
func growthFor(live uint64) int {
	const step = 25
	p := uint64(mostGrowth)
	if live > 0 {
		p = min(leastGrowth*100/live, p)
	}
	return max(int(p)/step*step, growth)
}
