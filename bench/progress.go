package bench

import (
	"fmt"
	"time"
)

const progressEvery = 500 * time.Millisecond

// progress draws a line that overwrites itself; nil draws nothing.
type progress struct {
	w     *world
	what  string
	from  int64
	until int64
	next  int64
	lastN uint64
	lastT int64
	drawn bool
}

func newProgress(w *world) *progress {
	if w.o.Progress == nil {
		return nil
	}
	p := &progress{w: w}
	now := w.clock.now()
	p.begin(w.o.Scenario+": connecting", now, now+int64(w.o.Timeout))
	return p
}

// begin starts the line for a part of the run that ends at until.
func (p *progress) begin(what string, from, until int64) {
	if p == nil {
		return
	}
	p.what, p.from, p.until, p.next, p.lastT, p.lastN = what, from, until, from, from, p.count()
}

func (p *progress) count() uint64 {
	w := p.w
	if w.telemetry == nil && w.unicast == nil && w.commands == nil {
		return 0
	}
	return w.accountedFrames()
}

// show draws the line if the last drawing is old enough.
func (p *progress) show(now int64) {
	if p == nil || now < p.next {
		return
	}
	p.next = now + int64(progressEvery)
	w, n := p.w, p.count()
	perSecond := 0.0
	if now > p.lastT {
		perSecond = float64(n-p.lastN) / (float64(now-p.lastT) / 1e9)
	}
	p.lastN, p.lastT = n, now
	open := countOpen(w.devices) + countOpen(w.frontends) + countOpen(w.extras)
	line := fmt.Sprintf("%s %.0fs of %.0fs  %d connections", p.what, max(float64(now-p.from)/1e9, 0), float64(p.until-p.from)/1e9, open)
	if w.telemetry != nil || w.unicast != nil || w.commands != nil {
		line += fmt.Sprintf("  %s/s  p99 %s", count(perSecond), micros(float64(w.p99())/1e3))
		if lost := w.lostSoFar(); lost > 0 {
			line += fmt.Sprintf("  lost %s", count(float64(lost)))
		}
	}
	if w.down > 0 {
		line += fmt.Sprintf("  %d closed", w.down)
	}
	fmt.Fprintf(w.o.Progress, "\r\x1b[K%s", line)
	p.drawn = true
}

// end removes the line.
func (p *progress) end() {
	if p != nil && p.drawn {
		fmt.Fprint(p.w.o.Progress, "\r\x1b[K")
	}
}

// accountedFrames counts deliveries as frames and messages.
func (w *world) accountedFrames() (n uint64) {
	for _, c := range w.frontends {
		n += c.frames
	}
	for _, c := range w.devices {
		n += c.frames
	}
	if w.commands != nil {
		n += w.commands.answered
	}
	return n
}

func (w *world) lostSoFar() (n uint64) {
	for _, c := range w.frontends {
		n += c.tally.lost
	}
	return n
}

// p99 is that of the traffic's main kind, in ns.
func (w *world) p99() int64 {
	switch {
	case w.telemetry != nil:
		return w.telemetry.lat.p99()
	case w.unicast != nil:
		return w.unicast.lat.p99()
	}
	return w.commands.lat.p99()
}
