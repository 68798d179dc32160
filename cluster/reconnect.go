package cluster

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

const (
	// Time between attempts to connect. It doubles from minBackoff to maxBackoff.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
	// stableTime is how long a connection must last for the next attempts to begin
	// with minBackoff again.
	stableTime = 5 * time.Second
)

// run connects to Redis, and again whenever the connection has failed, until the
// bus is left.
func (b *Bus) run() {
	backoff := minBackoff
	for b.ctx.Err() == nil {
		begun := b.now()
		rc, err := b.connect()
		if err == nil {
			begun = b.now()
			err = b.serve(rc)
		}
		if b.ctx.Err() != nil {
			return
		}
		b.disconnected(err)
		if b.now()-begun > stableTime.Microseconds() {
			backoff = minBackoff
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// serve uses a connection until it fails, and returns the reason.
func (b *Bus) serve(rc *redisConn) error {
	b.connected(rc)
	rc.probed.Store(b.now())
	rc.done.Go(rc.publish)
	rc.done.Go(rc.maintainKeys)
	rc.done.Go(rc.maintainSubscriptions)
	rc.done.Go(rc.watch)
	select {
	case <-rc.ctx.Done():
	case err := <-rc.inDone:
		if err == nil {
			err = errors.New("connection closed by Redis")
		}
		rc.fail(err)
	}
	rc.close()
	return rc.failure()
}

// connected tells the Member that the other nodes can be reached, and tells them
// that this node is here.
func (b *Bus) connected(rc *redisConn) {
	b.calls.Lock()
	defer b.calls.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	rc.live = true
	b.mu.Lock()
	outage := b.outage
	b.conn, b.up, b.outage = rc, !b.leaving && rc.ctx.Err() == nil, 0
	if outage != 0 {
		b.stats.OutageSeconds += float64(b.now()-outage) / 1e6
	}
	b.local.claimAll(b.now())
	b.enqueueRecord(&b.all, 0, func(buf []byte) []byte {
		return appendNumbers(buf, recordSyncRequest, b.options.Name, uint64(b.now()), noSnapshot)
	})
	b.enqueueRecord(&b.all, 0, func(buf []byte) []byte { return appendNumbers(buf, recordHeartbeat, b.options.Name, b.local.seq) })
	b.mu.Unlock()
	if outage != 0 {
		b.log.Info().Dur("outage_ms", time.Duration(b.now()-outage)*time.Microsecond).Msg("other nodes can be reached again through Redis")
	} else {
		b.log.Info().Str("node", nodeHex(b.id)).Str("mode", string(rc.mode)).Msg("connected to Redis")
	}
	b.member.BusChanged(true)
}

// disconnected drops what is queued when a connection has failed or could not be
// made, and tells the Member.
func (b *Bus) disconnected(err error) {
	b.mu.Lock()
	had := b.conn != nil
	var uncertain []*packet
	if had {
		uncertain = b.conn.uncertain
	}
	b.conn, b.up = nil, false
	first := b.outage == 0
	if first {
		b.outage = b.now()
		b.stats.Outages++
	}
	packets := b.queue.drop()
	b.local.connectionEnded()
	b.mu.Unlock()
	if first {
		b.failures = failures{}
	}
	if n, ok := b.failures.worthLogging(err, b.now()); ok {
		b.log.Warn().Err(err).Uint64("attempts", n).Msg("other nodes cannot be reached through Redis")
	}
	for _, p := range uncertain {
		b.undelivered(p, false)
	}
	for _, p := range packets {
		b.undelivered(p, true)
	}
	if had {
		b.callMember(func(m federation.Member) { m.BusChanged(false) })
	}
}

// undelivered tells the Member of the messages in a packet that was not delivered,
// or, unless that is certain, perhaps was.
func (b *Bus) undelivered(p *packet, certain bool) {
	if p.to.node == 0 || p.messages == 0 {
		return
	}
	to := p.to.node
	b.callMember(func(m federation.Member) {
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

// watch publishes probes and heartbeats until the connection ends, and ends it
// when the probes do not come back.
func (rc *redisConn) watch() {
	b := rc.bus
	timeout := b.options.Timeout.Microseconds()
	ticker := time.NewTicker(b.options.Timeout / 4)
	defer ticker.Stop()
	heartbeat := b.now() + jittered(part(b.options.TTL, 4))
	for {
		select {
		case <-rc.ctx.Done():
			return
		case <-ticker.C:
		}
		at := b.now()
		if at-rc.probed.Load() > timeout+timeout/4 {
			rc.fail(errSilent)
			return
		}
		b.mu.Lock()
		b.enqueueRecord(&b.self, 0, func(buf []byte) []byte { return endRecord(beginRecord(buf, recordProbe), len(buf)) })
		if at >= heartbeat {
			heartbeat = at + jittered(part(b.options.TTL, 4))
			b.enqueueRecord(&b.all, 0, func(buf []byte) []byte { return appendNumbers(buf, recordHeartbeat, b.options.Name, b.local.seq) })
		}
		b.mu.Unlock()
	}
}

// jittered returns a time that is up to a fifth shorter, so that nodes which were
// started together do not publish together.
func jittered(us int64) int64 { return us - rand.Int64N(us/5+1) }

// failures are the errors of one outage. Each kind of error is logged once, and
// the latest again each minute: the first error rarely says why the outage lasts.
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
