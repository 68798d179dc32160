package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

func TestANodeThatDiesIsAnnouncedOnceWithinTheTimeToLive(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b", "c")
	a := n[0]
	a.Hold(federation.Holding{Device: "press-1", Epoch: 1})
	settled(t, 2, 1, n[1:]...)
	time.Sleep(a.options.TTL / 3) // anywhere between two heartbeats
	a.crash()
	died := time.Now()
	for _, x := range n[1:] {
		x.await(t, "a is lost", func() bool { return x.has("left a node_lost") })
	}
	if took := time.Since(died); took > a.options.TTL {
		t.Errorf("took %v, the time to live is %v", took, a.options.TTL)
	}
	time.Sleep(a.options.TTL / 2)
	for _, x := range n[1:] {
		if x.times("left a node_lost") != 1 || len(x.there) != 1 || len(x.devices) != 0 {
			t.Errorf("%v", x.events)
		}
	}
	await(t, "its keys have expired", func() bool { return redis.Do("DBSIZE") == int64(2) })
}

func TestNobodyIsLostBecauseThisProcessWasSuspended(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	const tick = 500 * time.Millisecond
	b.at(time.Minute)
	b.checkPeers(b.now(), (time.Minute - tick).Microseconds())
	if len(m.there) != 1 {
		t.Fatal("lost, although nobody was listened to")
	}
	b.at(time.Minute + b.options.TTL*8/10 + 2*tick)
	b.checkPeers(b.now(), 0)
	if len(m.there) != 0 || m.times("left  node_lost") != 1 {
		t.Errorf("still there, unheard: %v", m.events)
	}
}

func TestAMessageToANodeThatJustDiedComesBack(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b")
	n[1].crash()
	await(t, "nobody listens to b's channel", func() bool { return n[1].Bus.ctx.Err() != nil })
	for i := range uint64(10) {
		m := &federation.Message{Kind: federation.KindCommand, Corr: i + 1, ID: fmt.Sprint("c", i), Name: "press-1", Text: []byte("{}")}
		if err := n[0].Send(n[1].Self(), m); err != nil {
			t.Fatal(err)
		}
	}
	n[0].await(t, "all are returned", func() bool { return len(n[0].returned) == 10 })
	for i, m := range n[0].returned {
		if m.Kind != federation.KindCommand || m.Corr != uint64(i+1) || m.ID != fmt.Sprint("c", i) {
			t.Errorf("%d: %+v", i, m)
		}
	}
}

func TestASilentNodeWithAKeyIsGivenMoreTime(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	short := func(o *Options) { o.TTL, o.Timeout = 2*time.Second, time.Second }
	a, b := start(t, redis.URL(), "a", short), start(t, redis.URL(), "b", short)
	acquainted(t, a, b)
	a.crash()
	redis.Do("SET", a.names.ofNode(a.Self()), "as if it could still reach Redis")
	silent := time.Now()
	b.await(t, "it is lost", func() bool { return b.has("left a node_lost") })
	if took := time.Since(silent); took < a.options.TTL*3/2 {
		t.Errorf("lost after %v, the time to live is %v", took, a.options.TTL)
	}
}
