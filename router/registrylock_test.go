package router

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// slowRights are rights to observe everything. Their first use begins a walk over
// all devices, and does not return before the test ends the walk.
type slowRights struct {
	first   *atomic.Bool
	begun   chan struct{}
	proceed chan struct{}
}

func newSlowRights() slowRights {
	return slowRights{new(atomic.Bool), make(chan struct{}), make(chan struct{})}
}

func (x slowRights) MayObserve(string) bool {
	if x.first.CompareAndSwap(false, true) {
		close(x.begun)
		<-x.proceed
	}
	return true
}

func (x slowRights) MayCommand(string) bool { return true }

// Messages of every kind and telemetry pass while work on the registry takes its
// time: while its lock is held, while the rights of a front end change, and while
// a front end gets its list of devices. The messages are from and to sessions here
// and on another node, whose registry is busy too. Commands end at their deadline,
// although a report of positions is due. The test does not use a bubble, which
// would wait for goroutines that wait for a lock.
func TestRoutingDoesNotWaitForTheRegistry(t *testing.T) {
	for name, occupy := range map[string]func(t *testing.T, g *gateway) (release func()){
		"lock": func(_ *testing.T, g *gateway) func() {
			g.r.registry.mu.Lock()
			return g.r.registry.mu.Unlock
		},
		"new rights": func(_ *testing.T, g *gateway) func() {
			before := g.limited("", rights{observe: "none"})
			x := newSlowRights()
			return occupied(x, func() { g.r.SetRights(before.sess, x) })
		},
		"welcome": func(t *testing.T, g *gateway) func() {
			x := newSlowRights()
			return occupied(x, func() {
				if _, err := g.add(session.Info{Role: session.RoleFrontend, Rights: x}); err != nil {
					t.Error(err)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub := membus.NewHub()
			here, there := newNode(t, hub, "here"), newNode(t, hub, "there")
			testRoutingBetween(t, here, there, func() {
				t.Cleanup(occupy(t, here))
				t.Cleanup(occupy(t, there))
			})
		})
	}
}

// occupied runs work that uses the rights, and returns once the work has begun.
// The caller must call release, which waits for the end of the work.
func occupied(x slowRights, work func()) (release func()) {
	var wg sync.WaitGroup
	wg.Go(work)
	<-x.begun
	return func() {
		close(x.proceed)
		wg.Wait()
	}
}

// newNode returns a gateway that has joined a hub.
func newNode(t *testing.T, hub *membus.Hub, name string) *gateway {
	t.Helper()
	g := newGateway(t, func(o *Options, so *session.Options) {
		bus := hub.Bus(name)
		o.Node, o.Bus, so.Node = name, bus, uint32(bus.Self())
	})
	if err := g.r.Join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.r.Leave)
	return g
}

// testRoutingBetween connects sessions to two nodes, calls occupy, and then sends
// messages of every kind from the first node.
func testRoutingBetween(t *testing.T, here, there *gateway, occupy func()) {
	ann, bob := here.frontend("ann"), here.frontend("bob")
	near, cat := here.device("near"), there.frontend("cat")
	far := there.device("far")
	streams := map[*gateway]map[string]uint32{}
	for g, device := range map[*gateway]string{here: "far", there: "near"} {
		gatewaytest.Eventually(t, "the node's feed of the other node's device", func() bool {
			f, wanted := g.r.registry.feeds.of(device)
			return wanted && f.holder != 0
		})
		streams[g] = map[string]uint32{}
		for _, d := range g.listing() {
			streams[g][d.DeviceID] = d.Stream
		}
	}
	ann.send(`{"type":"end","id":"near 1","dst":"near","timeout_ms":1500}`, `{"type":"end","id":"far 1","dst":"far","timeout_ms":1500}`)
	occupy()

	send := func(p *peer, text string) { during(t, text, func() { p.send(text) }) }
	for _, dst := range []string{"near", "far", "@frontends", "@user/bob", "@user/cat", "@session/" + bob.sess.ID().String(), "@session/" + cat.sess.ID().String()} {
		send(ann, `{"type":"to","dst":"`+dst+`"}`)
		if dst != "near" && dst != "far" {
			send(near, `{"type":"by","dst":"`+dst+`"}`)
		}
	}
	send(near, `{"type":"by"}`)
	near.gets(`{"src":"@user/ann","type":"to","dst":"near"}`)
	far.gets(`{"src":"@user/ann","type":"to","dst":"far"}`)
	for dst, to := range map[string][]*peer{
		"@frontends": {bob, cat}, "@user/bob": {bob}, "@user/cat": {cat},
		"@session/" + bob.sess.ID().String(): {bob}, "@session/" + cat.sess.ID().String(): {cat},
	} {
		for _, p := range to {
			p.gets(`{"src":"@user/ann","type":"to","dst":"` + dst + `"}`)
			p.gets(`{"src":"near","type":"by","dst":"` + dst + `"}`)
		}
	}
	for _, p := range []*peer{ann, bob, cat} {
		p.gets(`{"src":"near","type":"by"}`)
	}

	for device, d := range map[string]*peer{"near": near, "far": far} {
		send(ann, `{"type":"act","id":"2","dst":"`+device+`"}`)
		d.gets(`{"src":"@user/ann","type":"act","id":"2","dst":"` + device + `"}`)
		send(d, `{"type":"done","re":"2"}`)
		ann.gets(`{"src":"` + device + `","type":"done","re":"2"}`)
		during(t, "telemetry", func() { d.sendBinary(telemetry(0, 5)) })
		ann.hears(streams[here][device])
		cat.hears(streams[there][device])
	}

	during(t, "a broadcast of the API", func() {
		if n, err := here.broadcast(protocol.Message{Type: "all"}); err != nil || n < 3 {
			t.Errorf("the broadcast reached %d front ends: %v", n, err)
		}
	})
	during(t, "a message of the API to a user", func() {
		if n, err := here.sendUser("cat", protocol.Message{Type: "one"}); err != nil || n != 1 {
			t.Errorf("the message reached %d sessions: %v", n, err)
		}
	})
	during(t, "an external message", func() {
		if err := (member{here.r}).ReceiveExternal([]byte(`{"type":"ext","dst":"@user/bob"}`)); err != nil {
			t.Error(err)
		}
	})
	bob.gets(`{"src":"@bus","type":"ext","dst":"@user/bob"}`)
	for _, device := range []string{"near", "far"} {
		gatewaytest.Eventually(t, "the deadline of the command to "+device, func() bool {
			return ann.find(func(m received) bool {
				return m.Re == device+" 1" && strings.Contains(m.text, string(protocol.ErrTimeout))
			})
		})
	}
}

// during runs f, and fails the test when f does not return.
func during(t *testing.T, what string, f func()) {
	t.Helper()
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		f()
	}()
	gatewaytest.Eventually(t, what, done.Load)
}

// gets waits until the peer has got a text message.
func (p *peer) gets(text string) {
	p.t.Helper()
	gatewaytest.Eventually(p.t, text, func() bool {
		return p.find(func(m received) bool { return m.text == text })
	})
}

// hears waits until the peer has got telemetry of a stream.
func (p *peer) hears(stream uint32) {
	p.t.Helper()
	gatewaytest.Eventually(p.t, "telemetry", func() bool {
		return p.find(func(m received) bool {
			var h protocol.TelemetryHeader
			return m.op == wsframe.OpBinary && h.Parse(m.data) == nil && h.Stream == stream
		})
	})
}

// find reports whether the peer has got a message that matches.
func (p *peer) find(matches func(received) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.inbox {
		if matches(m) {
			return true
		}
	}
	return false
}
