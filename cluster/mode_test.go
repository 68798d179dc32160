package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// modes are the ways in which Redis can be run and reached.
var modes = map[string]func(t testing.TB) (url string, change func(*Options)){
	"plain": func(t testing.TB) (string, func(*Options)) {
		return redistest.Start(t).URL(), func(*Options) {}
	},
	"plain, sharded": func(t testing.TB) (string, func(*Options)) {
		return redistest.Start(t).URL(), func(o *Options) { o.Sharded = true }
	},
	"TLS and an ACL user": func(t testing.TB) (string, func(*Options)) {
		// The rights that the documentation names, and no others.
		s := redistest.Start(t, redistest.WithTLS(), redistest.WithUser("lab", "p@ss/word", strings.Fields(leastRights)...))
		return s.URL(), func(o *Options) { o.CAFile, o.Prefix = s.CAFile(), "lab" }
	},
	"Unix socket": func(t testing.TB) (string, func(*Options)) {
		path := filepath.Join(t.TempDir(), "redis.sock")
		redistest.Start(t, redistest.WithConfig("unixsocket "+path))
		return "unix://" + path, func(*Options) {}
	},
	"Sentinel": func(t testing.TB) (string, func(*Options)) {
		return redistest.StartSentinel(t).URL(), func(*Options) {}
	},
	"Redis Cluster": func(t testing.TB) (string, func(*Options)) {
		return redistest.StartCluster(t).URL(), func(*Options) {}
	},
	"Redis Cluster, sharded": func(t testing.TB) (string, func(*Options)) {
		return redistest.StartCluster(t).URL(), func(o *Options) { o.Sharded = true }
	},
}

// leastRights are the rights that an ACL user of Redis needs, for the prefix lab.
const leastRights = "~lab:* &lab:* +publish +spublish +subscribe +ssubscribe +unsubscribe +sunsubscribe +ping +hello +client|setname " +
	"+eval +evalsha +hmget +hset +pexpire +get +set +del +exists"

func TestEveryKindOfRedis(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, change := mode(t)
			a, b := start(t, url, "a", change), start(t, url, "b", change)
			acquainted(t, a, b)
			const devices = 30 // in a Redis Cluster, on every shard
			for i := range devices {
				a.Hold(federation.Holding{Device: fmt.Sprint("press-", i), Epoch: uint64(100 + i)})
				b.UpdateInterest(fmt.Sprint("press-", i), true)
			}
			settled(t, 1, devices, b)
			a.await(t, "a knows what b wants", func() bool { return len(a.wants) == devices })
			talk(t, a, b)
			for i := range devices {
				for n := range uint64(3) {
					a.SendTelemetry(&federation.Batch{Device: fmt.Sprint("press-", i), Range: federation.Range{Chain: 1, From: n, To: n + 1}, Wire: []byte{0x82, byte(n)}})
				}
			}
			b.await(t, "all telemetry has come", func() bool { return len(b.batches) == 3*devices })
			next := map[string]uint64{}
			for _, batch := range b.batches {
				if batch.Range.From != next[batch.Device] || batch.Wire[1] != byte(batch.Range.From) {
					t.Fatalf("%s: %+v, want %d next", batch.Device, batch, next[batch.Device])
				}
				next[batch.Device]++
			}
			for i := range devices {
				b.UpdateInterest(fmt.Sprint("press-", i), false)
				b.Hold(federation.Holding{Device: fmt.Sprint("press-", i), Epoch: uint64(200 + i)})
			}
			a.await(t, "a holds nothing any longer", func() bool { return len(a.overtaken) == devices && len(a.wants) == 0 })
			await(t, "b listens to none", func() bool {
				b.Bus.mu.Lock()
				defer b.Bus.mu.Unlock()
				return len(b.local.interests) == 0
			})
			b.UpdateInterest("press-1", true)
			a.await(t, "b wants it again", func() bool { return len(a.wants) == 1 })
			a.SendTelemetry(&federation.Batch{Device: "press-1", Wire: []byte{9}})
			b.await(t, "and gets it", func() bool { return len(b.batches) == 3*devices+1 })
			b.Leave()
			a.await(t, "b has left", func() bool { return a.has("left b going_away") })
			if s := a.Stats(); s.Outages != 0 || s.Malformed != 0 || s.Lost != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestWithoutTheRights(t *testing.T) {
	t.Parallel()
	for name, rights := range map[string]string{
		"no channels":     strings.Replace(leastRights, "&lab:*", "", 1),
		"no keys":         strings.Replace(leastRights, "~lab:*", "", 1),
		"other channels":  strings.Replace(leastRights, "&lab:*", "&x:*", 1),
		"not to publish":  strings.Replace(leastRights, "+publish", "", 1),
		"not to run Lua":  strings.Replace(leastRights, "+eval ", "", 1),
		"not to set keys": strings.Replace(leastRights, "+set ", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, redistest.WithUser("lab", "secret", strings.Fields(rights)...))
			b, err := New(Options{URL: s.URL(), Name: "a", Prefix: "lab"})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Leave()
			err = b.Check()
			if err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "No permissions") && !strings.Contains(err.Error(), "can't run this command") {
				t.Errorf("%v, want to know what is not permitted", err)
			}
		})
	}
}

func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.WithUser("lab", "secret", strings.Fields(leastRights)...))
	for name, change := range map[string]func(o *Options){
		"wrong": func(o *Options) { o.URL = strings.Replace(o.URL, "secret", "hunter2", 1) },
		"none":  func(o *Options) { o.URL = "redis://" + s.Addr() },
	} {
		o := Options{URL: s.URL(), Name: "a", Prefix: "lab"}
		change(&o)
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = b.connect(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "WRONGPASS") && !strings.Contains(err.Error(), "NOAUTH") {
			t.Errorf("%s: %v", name, err)
		}
		b.Leave()
	}
}

func TestAnUntrustedRedis(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.WithTLS())
	b, err := New(Options{URL: s.URL(), Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Leave()
	if _, err := b.connect(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, want the certificate not to be trusted", err)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	n := together(t, s.URL(), "a", "b")
	a, b := n[0], n[1]
	a.Hold(federation.Holding{Device: "press-1", Epoch: 7})
	settled(t, 1, 1, b)
	await(t, "the key is there", func() bool { return holder(s.Master, "press-1") == holds(a, 7) })
	died := time.Now()
	s.Master.Kill()
	for _, x := range n {
		x.await(t, "the loss is noticed", func() bool { return x.has("up false") })
	}
	s.AwaitMaster(s.Replica)
	for _, x := range n {
		x.await(t, "up again", func() bool { return x.isUp && len(x.there) == 1 })
	}
	settled(t, 1, 1, b)
	t.Logf("up again after %v, an outage of %.1f s", time.Since(died).Round(time.Millisecond), a.Stats().OutageSeconds)
	await(t, "the new master has the key", func() bool { return holder(s.Replica, "press-1") == holds(a, 7) })
	talk(t, a, b)
	// The old master comes back as a replica of the new one, and nobody follows it.
	s.Master.Restart()
	await(t, "it is a replica", func() bool {
		reply, _ := s.Master.Try("ROLE") // the sentinels break its connections
		role, _ := reply.([]any)
		return len(role) > 0 && role[0] == "slave"
	})
	talk(t, a, b)
}

func TestTheClientOfARedisClusterEnds(t *testing.T) {
	c := redistest.StartCluster(t)
	ignored := append(closing, goleak.IgnoreCurrent())
	a := start(t, c.URL(), "a")
	a.await(t, "a is up", func() bool { return a.isUp })
	a.Leave()
	time.Sleep(1500 * time.Millisecond) // see TestMain
	if err := goleak.Find(ignored...); err != nil {
		t.Error(err)
	}
}

func TestRedisClusterFailsOver(t *testing.T) {
	t.Parallel()
	c := redistest.StartReplicatedCluster(t)
	sharded := func(o *Options) { o.Sharded = true }
	a, b := start(t, c.URL(), "a", sharded), start(t, c.URL(), "b", sharded)
	acquainted(t, a, b)
	const devices = 30
	for i := range devices {
		a.Hold(federation.Holding{Device: fmt.Sprint("press-", i), Epoch: 1})
		b.UpdateInterest(fmt.Sprint("press-", i), true)
	}
	settled(t, 1, devices, b)
	died := time.Now()
	c.Nodes[0].Kill()
	await(t, "the replica serves", func() bool {
		reply, _ := c.Replicas[0].Try("ROLE")
		role, _ := reply.([]any)
		return len(role) > 0 && role[0] == "master"
	})
	settled(t, 1, devices, b)
	a.await(t, "a is up", func() bool { return a.isUp && len(a.there) == 1 && len(a.wants) == devices })
	t.Logf("up again after %v", time.Since(died).Round(time.Millisecond))
	talk(t, a, b)
	arrived := map[string]bool{}
	b.await(t, "the telemetry of every device comes", func() bool {
		for i := range devices {
			a.SendTelemetry(&federation.Batch{Device: fmt.Sprint("press-", i), Wire: []byte{1}})
		}
		for _, batch := range b.batches {
			arrived[batch.Device] = true
		}
		return len(arrived) == devices
	})
}
