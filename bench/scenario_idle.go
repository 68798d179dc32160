package bench

import (
	"context"
	"time"
)

// IdleResult is the cost of idle connections. Memory per connection is the
// growth since before the first connection. Start the gateway just before the
// run: a gateway that ran before reuses memory that it had freed.
type IdleResult struct {
	Connections     int     `json:"connections"` // open at the end
	Closed          int     `json:"closed"`      // by the gateway, during the run
	HeldSeconds     float64 `json:"held_s"`
	PerConnKiB      float64 `json:"rss_per_connection_kib,omitempty"`
	PerConnRoutines float64 `json:"goroutines_per_connection,omitempty"`
}

// idle opens connections and keeps them, answering pings.
func (r *runner) idle(ctx context.Context, found *problems) error {
	w, err := newWorld(ctx, &r.o, r.o.Prefix)
	if err != nil {
		return err
	}
	defer w.close()
	w.progress = newProgress(w)
	defer w.progress.end()
	defer func() { found.merge(&w.problems) }()
	res := &r.report.Results
	begun := w.clock.now()
	w.progress.begin("idle: connecting", begun, begun+int64(r.o.Timeout))
	if res.Connects, err = w.connect(ctx, w.extraPeers(r.o.Connections, r.o.Role)); err != nil {
		return err
	}
	a := w.mark()
	w.progress.begin("idle", a.at, a.at+int64(r.o.Duration))
	err = w.run(ctx, a.at+int64(r.o.Duration), nil)
	b := w.mark()
	res.Seconds = float64(b.at-a.at) / 1e9
	idle := &IdleResult{Connections: countOpen(w.extras), Closed: w.down, HeldSeconds: time.Duration(b.at - a.at).Seconds()}
	res.Idle, res.Load, res.Server = idle, loadResult(a, b), r.serverResult(a, b)
	if s := res.Server; s != nil && idle.Connections > 0 {
		r.goroutines(s)
		n := float64(idle.Connections)
		idle.PerConnKiB = float64(s.RSSKiB-s.RSSBeforeKiB) / n
		idle.PerConnRoutines = float64(s.Goroutines-s.GoroutinesBefore) / n
	}
	if err == nil {
		w.goodbye(ctx)
	}
	return err
}
