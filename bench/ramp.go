package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/labgate/labgate/bench/internal/wsconn"
)

// peer is a connection to be made.
type peer struct {
	role     role
	index    int
	frontend bool // which endpoint, and which token
	path     string
}

// ramp makes connections at a rate, and limits the attempts at the same time.
// With a rate, connect time counts from when an attempt was due; without one,
// from when it began. The connect time ends with gateway.welcome.
type ramp struct {
	// Static after begin.
	w           *world
	concurrency int
	sched       schedule
	paced       bool
	from        int64 // not 0: connect time counts from here for every peer
	retry       bool  // failed attempts are repeated

	peers   []peer    // not tried yet
	tried   uint64    // of the schedule
	again   []retryAt // attempts to repeat, by time
	pending []*conn   // attempts in the order they began, ended ones included
	active  int
	result  Connects
	lat     *recorder // the world's, or its own when from is set
	started int64
	ended   int64
}

type retryAt struct {
	peer peer
	at   int64
}

// Connects reports how connections were made.
type Connects struct {
	Wanted  int `json:"wanted"`
	Open    int `json:"open"`
	Failed  int `json:"failed"`  // for good
	Retries int `json:"retries"` // failed attempts that were repeated
	// RetryCause is why the first of these failed.
	RetryCause string   `json:"retry_cause,omitempty"`
	Seconds    float64  `json:"seconds"`
	PerSecond  float64  `json:"per_s"`
	Latency    *Latency `json:"latency,omitempty"` // from TCP connect, or its scheduled time, to gateway.welcome
}

// merge adds the result of connections that were made after those of c.
func (c *Connects) merge(o *Connects) {
	c.Wanted += o.Wanted
	c.Open += o.Open
	c.Failed += o.Failed
	c.Retries += o.Retries
	c.Seconds += o.Seconds
	if c.Seconds > 0 {
		c.PerSecond = float64(c.Open) / c.Seconds
	}
	c.Latency = o.Latency // covers both
}

const (
	// perTick limits the attempts of one tick: a connect takes tens of
	// microseconds, and thousands at once would delay the senders.
	perTick   = 16
	retryBase = 50 * time.Millisecond // a retry waits between once and twice this time
	connected = "connected"           // phase of the recorder
)

var errConnectTimeout = errors.New("no gateway.welcome within --connect-timeout")

// beginConnect starts to open peers. from is the origin of connect times; 0:
// each attempt's own.
func (w *world) beginConnect(peers []peer, concurrency int, from int64, retry bool) *ramp {
	now := w.clock.now()
	r := &ramp{w: w, concurrency: concurrency, from: from, retry: retry, peers: peers, started: now, ended: now}
	if w.o.ConnectRate > 0 && from == 0 {
		r.sched, r.paced = newSchedule(now, w.o.ConnectRate), true
	}
	r.result.Wanted = len(peers)
	if r.lat = &w.connectLat; from != 0 {
		r.lat = &recorder{}
	}
	if len(r.lat.phases) == 0 {
		r.lat.begin(connected, 0, true)
	}
	w.tickers = append(w.tickers, r)
	w.nextTick = now
	return r
}

// connect opens peers and returns when each is open or has failed.
func (w *world) connect(ctx context.Context, peers []peer) (*Connects, error) {
	r := w.beginConnect(peers, w.o.ConnectConcurrency, 0, false)
	err := w.run(ctx, never, r.done)
	res := r.finish()
	if err != nil {
		err = fmt.Errorf("%d of %d connections open: %w", res.Open, res.Wanted, err)
	}
	return res, err
}

func (r *ramp) done() bool { return r.active == 0 && len(r.peers) == 0 && len(r.again) == 0 }

// finish removes the ramp from the tickers and returns its result.
func (r *ramp) finish() *Connects {
	r.w.tickers = slices.DeleteFunc(r.w.tickers, func(t ticker) bool { return t == ticker(r) })
	res := r.result
	res.Seconds = float64(r.ended-r.started) / 1e9
	if res.Seconds > 0 {
		res.PerSecond = float64(res.Open) / res.Seconds
	}
	res.Latency = r.lat.summary(connected)
	return &res
}

func (r *ramp) tick(now int64) {
	left := perTick
	for ; left > 0 && r.active < r.concurrency && len(r.again) > 0 && r.again[0].at <= now; left-- {
		p := r.again[0].peer
		r.again = r.again[1:]
		r.attempt(p, now, now)
	}
	for ; left > 0 && r.active < r.concurrency && len(r.peers) > 0; left-- {
		from := now
		if r.paced {
			if from = r.sched.due(r.tried); from > now {
				break
			}
		}
		p := r.peers[0]
		r.peers = r.peers[1:]
		r.tried++
		r.attempt(p, from, now)
	}
	for len(r.pending) > 0 {
		c := r.pending[0]
		if c.hs != nil && c.hs.ramp == r {
			if now-c.hs.begun < int64(r.w.o.ConnectTimeout) {
				break
			}
			c.fail(errConnectTimeout)
		}
		r.pending = r.pending[1:]
	}
}

func (r *ramp) nextDue() int64 {
	next := int64(never)
	if len(r.pending) > 0 {
		if c := r.pending[0]; c.hs != nil {
			next = c.hs.begun + int64(r.w.o.ConnectTimeout)
		} else {
			next = r.w.now
		}
	}
	if r.active >= r.concurrency {
		return next
	}
	if len(r.again) > 0 {
		next = min(next, r.again[0].at)
	}
	if len(r.peers) > 0 {
		due := r.w.now
		if r.paced {
			due = r.sched.due(r.tried)
		}
		next = min(next, due)
	}
	return next
}

// attempt begins one connection.
func (r *ramp) attempt(p peer, from, now int64) {
	w := r.w
	if r.from != 0 {
		from = r.from
	}
	dst, token := &w.target, w.o.DeviceToken
	if p.frontend {
		dst, token = &w.frontendTarget, w.o.FrontendToken
	}
	c := &conn{w: w, index: p.index, role: p.role, hs: &handshake{
		Handshake: wsconn.Handshake{Host: dst.host, Path: dst.path + p.path, Subprotocol: w.o.subprotocol(), Token: token},
		ramp:      r, peer: p, from: from, begun: now,
	}}
	r.active++
	var src netip.Addr
	if sources := sourceAddrs(dst.addr.Addr(), w.o.Sources); sources != nil {
		src = sources[w.sourced%len(sources)]
		w.sourced++
	}
	if err := c.open(dst.addr, src); err != nil {
		r.failed(c, err)
		return
	}
	r.pending = append(r.pending, c)
}

// opened follows gateway.welcome.
func (r *ramp) opened(c *conn, now int64) {
	r.lat.record(c.hs.from, now)
	r.active--
	r.result.Open++
	r.ended = now
	list := r.w.population(c.role)
	for len(*list) <= c.index {
		*list = append(*list, nil)
	}
	(*list)[c.index] = c
	c.hs = nil
	// The next attempt need not wait for its tick.
	if len(r.peers) > 0 && !r.paced {
		r.w.nextTick = now
	}
}

// failed follows the end of an attempt.
func (r *ramp) failed(c *conn, err error) {
	p := c.hs.peer
	c.hs = nil
	r.active--
	r.ended = r.w.clock.now()
	if r.retry {
		if r.result.Retries++; r.result.Retries == 1 {
			r.result.RetryCause = err.Error()
		}
		wait := int64(retryBase) + rand.Int64N(int64(retryBase))
		r.again = append(r.again, retryAt{p, r.ended + wait})
		return
	}
	r.result.Failed++
	r.w.problems.add(problemConnect, "%s: %v", c, err)
}

// population is the list that connections of a role belong to.
func (w *world) population(ro role) *[]*conn {
	switch ro {
	case roleDevice:
		return &w.devices
	case roleFrontend:
		return &w.frontends
	}
	return &w.extras
}
