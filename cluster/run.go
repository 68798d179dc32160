package cluster

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// Time between attempts to connect: it doubles from the first to the last.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second
	// A link that lasted so long was a good one.
	lasting = 5 * time.Second
)

// run connects, and connects again whenever the link has failed, until the bus
// is left.
func (b *Bus) run() {
	wait := firstWait
	for b.ctx.Err() == nil {
		begun := b.now()
		l, err := b.connect()
		if err == nil {
			begun = b.now()
			err = b.serve(l)
		}
		if b.ctx.Err() != nil {
			return
		}
		b.down(err)
		if b.now()-begun > lasting.Microseconds() {
			wait = firstWait
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, lastWait)
	}
}

// serve uses a link until it fails.
func (b *Bus) serve(l *link) error {
	b.goUp(l)
	l.echoed.Store(b.now())
	l.done.Go(l.publish)
	l.done.Go(l.claims)
	l.done.Go(l.channels)
	l.done.Go(l.watch)
	select {
	case <-l.ctx.Done():
	case err := <-l.inDone:
		if err == nil {
			err = errors.New("connection closed by Redis")
		}
		l.fail(err)
	}
	l.close()
	return l.failure()
}

// goUp tells the Member that the other nodes can be reached, and them that this
// one is here.
func (b *Bus) goUp(l *link) {
	b.calls.Lock()
	defer b.calls.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	l.live = true
	b.mu.Lock()
	gap := b.outage
	b.link, b.up, b.outage = l, !b.leaving && l.ctx.Err() == nil, 0
	if gap != 0 {
		b.stats.OutageSeconds += float64(b.now()-gap) / 1e6
	}
	b.own.scheduleAll(b.now())
	b.enqueue(&b.all, 0, func(buf []byte) []byte {
		return appendNumbers(buf, recordAsk, b.options.Name, uint64(b.now()), noSnapshot)
	})
	b.enqueue(&b.all, 0, func(buf []byte) []byte { return appendNumbers(buf, recordBeat, b.options.Name, b.own.seq) })
	b.mu.Unlock()
	if gap != 0 {
		b.log.Info().Dur("outage_ms", time.Duration(b.now()-gap)*time.Microsecond).Msg("other nodes can be reached again through Redis")
	} else {
		b.log.Info().Str("node", nodeHex(b.id)).Str("mode", string(l.mode)).Msg("connected to Redis")
	}
	b.member.BusChanged(true)
}

// down does what has to be done when a link has failed or could not be made.
func (b *Bus) down(err error) {
	b.mu.Lock()
	was := b.link != nil
	var doubtful []*packet
	if was {
		doubtful = b.link.doubtful
	}
	b.link, b.up = nil, false
	first := b.outage == 0
	if first {
		b.outage = b.now()
		b.stats.Outages++
	}
	packets := b.queue.drop()
	b.own.unsubscribed()
	b.mu.Unlock()
	if first {
		b.failures = failures{}
	}
	if n, ok := b.failures.worthLogging(err, b.now()); ok {
		b.log.Warn().Err(err).Uint64("attempts", n).Msg("other nodes cannot be reached through Redis")
	}
	for _, p := range doubtful {
		b.undelivered(p, false)
	}
	for _, p := range packets {
		b.undelivered(p, true)
	}
	if was {
		b.call(func(m federation.Member) { m.BusChanged(false) })
	}
}

// undelivered tells the Member of the messages in a packet that nobody got, or
// perhaps somebody.
func (b *Bus) undelivered(p *packet, certain bool) {
	if p.to.node == 0 || p.messages == 0 {
		return
	}
	to := p.to.node
	b.call(func(m federation.Member) {
		rs := records(stringOf(p.buf[headerSize:]))
		for {
			kind, body, ok, _ := rs.next()
			if !ok {
				return
			}
			var msg federation.Message
			if kind == recordMessage && readMessage(body, &msg) == nil {
				m.Undelivered(to, &federation.Message{Kind: msg.Kind, Corr: msg.Corr, Sender: msg.Sender, ID: msg.ID, Name: msg.Name}, certain)
			}
		}
	})
}

// watch listens to whether this node hears itself, and tells the others that it
// is alive.
func (l *link) watch() {
	b := l.bus
	timeout := b.options.Timeout.Microseconds()
	ticker := time.NewTicker(b.options.Timeout / 4)
	defer ticker.Stop()
	beat := b.now() + jittered(part(b.options.TTL, 4))
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		at := b.now()
		if at-l.echoed.Load() > timeout+timeout/4 {
			l.fail(errSilent)
			return
		}
		b.mu.Lock()
		b.enqueue(&b.self, 0, func(buf []byte) []byte { return endRecord(beginRecord(buf, recordProbe), len(buf)) })
		if at >= beat {
			beat = at + jittered(part(b.options.TTL, 4))
			b.enqueue(&b.all, 0, func(buf []byte) []byte { return appendNumbers(buf, recordBeat, b.options.Name, b.own.seq) })
		}
		b.mu.Unlock()
	}
}

// jittered returns a time up to a fifth shorter, so that nodes which were started
// together do not speak together.
func jittered(us int64) int64 { return us - rand.Int64N(us/5+1) }

// failures are the errors of one outage, of which each kind is logged once, and
// the last one again each minute: the first error rarely says why the outage
// lasts. The goroutine run uses it alone.
type failures struct {
	kinds    map[string]bool
	attempts uint64 // failures since the outage began
	again    int64  // when to log an error of a known kind; µs
}

const (
	failureInterval = time.Minute
	maxFailureKinds = 10 // logged at once in one outage
)

// worthLogging notes a failure and reports whether to log it, and how many there
// were in this outage.
func (f *failures) worthLogging(err error, at int64) (attempts uint64, ok bool) {
	f.attempts++
	// Ports, and other numbers, differ from attempt to attempt.
	kind := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
	if f.kinds[kind] || len(f.kinds) >= maxFailureKinds {
		if at < f.again {
			return f.attempts, false
		}
	} else {
		if f.kinds == nil {
			f.kinds = map[string]bool{}
		}
		f.kinds[kind] = true
	}
	f.again = at + failureInterval.Microseconds()
	return f.attempts, true
}
