package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// growth is by how many percent the heap grows before garbage is collected:
	// by half, not by all of it as is Go's default. What thousands of connections
	// leave behind stays smaller, which small machines feel.
	growth = 50
	// With other nodes the heap may grow by so many bytes in any case, and by so
	// many percent at most. What comes through Redis is garbage as soon as it is
	// with the front ends: with half of a few MiB in reserve a busy gateway would
	// collect dozens of times a second, for a quarter of its CPU.
	leastGrowth = 8 << 20
	mostGrowth  = 400
)

// collectEarly has the garbage collector keep less in reserve than it does by
// itself, unless GOGC says how much, until stop.
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

// collector sets the garbage collector's target after each collection. It has
// no goroutine of its own.
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
	// An object that nobody has is cleaned up after the next collection.
	runtime.AddCleanup(new([64]byte), func(c *collector) {
		if !c.stopped.Load() {
			c.adjust()
		}
	}, c)
}

// growthFor returns by how many percent a heap may grow of which so many bytes
// are in use, in steps, because each change stops the gateway for a moment.
func growthFor(live uint64) int {
	const step = 25
	p := uint64(mostGrowth)
	if live > 0 {
		p = min(leastGrowth*100/live, p)
	}
	return max(int(p)/step*step, growth)
}
