package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// holder returns what the key of a device says: node and epoch.
func holder(redis *redistest.Server, device string) string {
	v := redis.Strings("HMGET", "labgate:device:"+device, "name", "node", "epoch")
	return fmt.Sprint(v[0], " ", v[1], " ", v[2])
}

func holds(n *node, epoch uint64) string {
	return fmt.Sprintf("%s %s %020d", n.options.Name, nodeHex(n.Self()), epoch)
}

const nobody = "<nil> <nil> <nil>"

func TestTheNewestEpochHoldsADevice(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	a, b := n[0], n[1]
	has := func(what string) {
		t.Helper()
		await(t, "the key says "+what, func() bool { return holder(redis, "press-1") == what })
	}
	a.Hold(federation.Holding{Device: "press-1", Epoch: 100})
	has(holds(a, 100))
	b.Hold(federation.Holding{Device: "press-1", Epoch: 200})
	has(holds(b, 200))
	a.await(t, "a is told", func() bool { return a.has("overtaken press-1 100 200") })
	if a.times("overtaken press-1 100 200") != 1 || a.has("overtaken at first press-1") {
		t.Errorf("told more than once, or that b was there before: %v", a.events)
	}

	// The late clean-up of the old connection removes nothing of the new one.
	a.Release(federation.Release{Device: "press-1", Epoch: 100, Reason: "replaced"})
	b.await(t, "b has heard of it", func() bool { return b.has("released a press-1 100 replaced 0") })
	a.Hold(federation.Holding{Device: "press-2", Epoch: 1})
	await(t, "a's scripts have run", func() bool { return holder(redis, "press-2") == holds(a, 1) })
	has(holds(b, 200))

	// A newer connection by a clock that is behind is refused, and comes again.
	a.Hold(federation.Holding{Device: "press-1", Epoch: 150})
	a.await(t, "a is told", func() bool { return a.has("overtaken press-1 150 200") && a.has("overtaken at first press-1") })
	has(holds(b, 200))
	a.Hold(federation.Holding{Device: "press-1", Epoch: 201})
	has(holds(a, 201))
	b.await(t, "b is told", func() bool { return b.has("overtaken press-1 200 201") && !b.has("overtaken at first press-1") })

	a.Release(federation.Release{Device: "press-1", Epoch: 201, Reason: "closed_by_peer"})
	has(nobody)
}

func TestEpochsAreComparedExactly(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	// As floating-point numbers, which Lua has, these are the same.
	const large = 1 << 62
	n[0].Hold(federation.Holding{Device: "press-1", Epoch: large})
	await(t, "a holds it", func() bool { return holder(redis, "press-1") == holds(n[0], large) })
	n[1].Hold(federation.Holding{Device: "press-1", Epoch: large + 1})
	await(t, "b holds it", func() bool { return holder(redis, "press-1") == holds(n[1], large+1) })
	// Fewer digits are less.
	n[0].Hold(federation.Holding{Device: "press-1", Epoch: 9})
	n[0].await(t, "a is told", func() bool { return n[0].has(fmt.Sprint("overtaken press-1 9 ", uint64(large+1))) })
}

func TestOfEqualEpochsTheGreaterNodeHolds(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	less, greater := n[0], n[1]
	if less.Self() > greater.Self() {
		less, greater = greater, less
	}
	less.Hold(federation.Holding{Device: "press-1", Epoch: 5})
	await(t, "the lesser holds it", func() bool { return holder(redis, "press-1") == holds(less, 5) })
	greater.Hold(federation.Holding{Device: "press-1", Epoch: 5})
	less.await(t, "it is told", func() bool { return less.has("overtaken press-1 5 5") })
	if got := holder(redis, "press-1"); got != holds(greater, 5) {
		t.Errorf("the key says %s", got)
	}
	less.Hold(federation.Holding{Device: "press-1", Epoch: 5})
	await(t, "it is told again", func() bool { return less.times("overtaken press-1 5 5") == 2 })
}

func TestKeysAreRenewedAndExpire(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	short := func(o *Options) { o.TTL, o.Timeout = 3*time.Second, 1500*time.Millisecond }
	a := start(t, redis.URL(), "a", short)
	a.Hold(federation.Holding{Device: "press-1", Epoch: 5})
	await(t, "the keys are there", func() bool { return len(redis.Strings("KEYS", "*")) == 2 })
	for end := time.Now().Add(2 * a.options.TTL); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if keys := redis.Strings("KEYS", "*"); len(keys) != 2 {
			t.Fatalf("keys %v while the node is there", keys)
		}
	}
	for _, key := range redis.Strings("KEYS", "*") {
		if left, _ := redis.Do("PTTL", key).(int64); left <= 0 || left > a.options.TTL.Milliseconds() {
			t.Errorf("%s expires in %d ms", key, left)
		}
	}
	a.crash()
	await(t, "the keys have expired", func() bool { return len(redis.Strings("KEYS", "*")) == 0 })
}

func TestAKeyThatIsLostIsTakenAgain(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a := start(t, redis.URL(), "a")
	a.Hold(federation.Holding{Device: "press-1", Epoch: 5})
	await(t, "a holds it", func() bool { return holder(redis, "press-1") == holds(a, 5) })
	redis.Do("FLUSHALL")
	await(t, "both keys are there again", func() bool { return len(redis.Strings("KEYS", "*")) == 2 })
	if !a.Up() {
		t.Error("the bus went down for that")
	}
}

func TestManyDevices(t *testing.T) {
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	const devices = 3000
	for i := range devices {
		n[0].Hold(federation.Holding{Device: fmt.Sprint("press-", i), Epoch: uint64(i + 1), Type: "tensile tester"})
	}
	n[1].await(t, "b knows all", func() bool { return len(n[1].devices) == devices })
	await(t, "all have keys", func() bool { return redis.Do("DBSIZE") == int64(devices+2) })
	c := start(t, redis.URL(), "c") // by a snapshot of many packets
	c.await(t, "c knows all", func() bool { return len(c.devices) == devices })
	for i := range devices {
		n[0].Release(federation.Release{Device: fmt.Sprint("press-", i), Epoch: uint64(i + 1), Reason: "closed_by_peer"})
	}
	c.await(t, "c knows that all are gone", func() bool { return len(c.devices) == 0 })
	await(t, "the keys are gone", func() bool { return redis.Do("DBSIZE") == int64(3) })
}

func TestAnotherProgramsKeyDoesNotTakeTheBusDown(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Do("SET", "labgate:device:press-1", "something else")
	redis.Do("HSET", "labgate:device:press-2", "epoch", "zzz")
	a := start(t, redis.URL(), "a")
	for _, d := range []string{"press-1", "press-2", "press-3"} {
		a.Hold(federation.Holding{Device: d, Epoch: 5})
	}
	await(t, "a holds the third", func() bool { return holder(redis, "press-3") == holds(a, 5) })
	if !a.Up() || redis.Do("GET", "labgate:device:press-1") != "something else" {
		t.Errorf("up %t", a.Up())
	}
	if len(a.overtaken) != 0 {
		t.Errorf("overtaken: %v", a.overtaken)
	}
}

func TestTwoNodesOfOneNumber(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a := start(t, redis.URL(), "a")
	a.await(t, "a is up", func() bool { return a.isUp })
	b, err := New(Options{URL: redis.URL(), Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b.id = a.Self()
	b.self = destination{node: b.id, channel: b.names.ofNode(b.id)}
	if rc, err := b.connect(); err == nil {
		rc.close()
		t.Error("connected")
	} else if !a.Up() {
		t.Error("the first went down")
	}
	b.Leave()
}

func TestADeviceThatConnectsAgainKeepsItsKey(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a := start(t, redis.URL(), "a")
	a.await(t, "a is up", func() bool { return a.isUp })
	const last = 50
	for e := uint64(1); e <= last; e++ {
		a.Hold(federation.Holding{Device: "press-1", Epoch: e})
		if e < last {
			a.Release(federation.Release{Device: "press-1", Epoch: e})
		}
	}
	await(t, "all scripts have run", func() bool {
		a.conn.keys.Lock() // nobody is at it
		defer a.conn.keys.Unlock()
		a.Bus.mu.Lock()
		defer a.Bus.mu.Unlock()
		return len(a.local.fresh) == 0 && len(a.local.releases) == 0
	})
	if got := holder(redis, "press-1"); got != holds(a, last) {
		t.Errorf("the key says %s: a release of an earlier connection took it", got)
	}
}

func TestNoKeyIsTakenAgainWhileTheNodeLeaves(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a := start(t, redis.URL(), "a")
	a.await(t, "a is up", func() bool { return a.isUp })
	a.Hold(federation.Holding{Device: "press-1", Epoch: 1})
	await(t, "the keys are there", func() bool { return redis.Do("DBSIZE") == int64(2) })
	a.Bus.mu.Lock()
	rc := a.conn
	a.leaving = true
	a.Bus.mu.Unlock()
	if err := rc.releaseKeys(); err != nil {
		t.Fatal(err)
	}
	a.Hold(federation.Holding{Device: "press-1", Epoch: 2})
	next := int64(0)
	if err := rc.doKeys(true, &next); err != nil || redis.Do("DBSIZE") != int64(0) {
		t.Errorf("%v, keys %v", err, redis.Strings("KEYS", "*"))
	}
}
