package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// world is one test with its nodes.
type world struct {
	t   *testing.T
	net Net
}

// node is one gateway without a network: a router, a Manager and the bus.
type node struct {
	t    *testing.T
	name string
	bus  federation.Bus
	r    *router.Router
	m    *session.Manager
	gone bool
}

// nodes starts nodes with these names and waits until each knows all others.
func (w *world) nodes(names ...string) []*node {
	w.t.Helper()
	all := make([]*node, len(names))
	for i, name := range names {
		all[i] = w.node(name)
	}
	for _, n := range all {
		gatewaytest.Eventually(w.t, "node "+n.name+" knows the others", func() bool { return n.bus.Up() && len(n.r.Nodes()) == len(names)-1 })
	}
	return all
}

func (w *world) node(name string) *node {
	w.t.Helper()
	n := &node{t: w.t, name: name, bus: w.net.Bus(name)}
	n.r = router.New(router.Options{Node: name, Bus: n.bus, Answer: func(what, arg string) ([]byte, bool) {
		return []byte(name + " on " + what + " of " + arg), what == "anything"
	}})
	so := session.Options{Node: uint32(n.bus.Self()), QueueOptions: session.QueueOptions{FlushInterval: time.Millisecond}, Callbacks: n.r}
	var err error
	if n.m, err = session.NewManager(so); err != nil {
		w.t.Fatal(err)
	}
	n.r.Bind(n.m)
	if err := n.r.Join(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(n.stop)
	return n
}

// stop ends the node as a shutdown does.
func (n *node) stop() {
	if n.gone {
		return
	}
	n.gone = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.m.Stop(ctx); err != nil {
		n.t.Error("stopping node ", n.name, ": ", err)
	}
	n.r.Leave()
}

func (n *node) connect(info session.Info) *peer {
	n.t.Helper()
	p := newPeer(n.t)
	s, err := n.m.Add(info, p)
	if err != nil {
		n.t.Fatal(err)
	}
	p.attach(s)
	return p
}

func (n *node) device(id string) *peer {
	n.t.Helper()
	return n.connect(session.Info{Role: session.RoleDevice, Name: id, Type: "tester", Meta: map[string]string{"room": "3"}, Remote: "192.0.2.1:1"})
}

// frontend connects a front end of a user, "" for none, that subscribes to all
// devices.
func (n *node) frontend(user string) *peer {
	n.t.Helper()
	return n.connect(session.Info{Role: session.RoleFrontend, Name: user, Telemetry: protocol.TelemetryAll, Remote: "192.0.2.2:2"})
}

// sees waits until the node reports the device as connected to the node with
// that name; with "" as offline.
func (n *node) sees(device, on string) {
	n.t.Helper()
	gatewaytest.Eventually(n.t, "node "+n.name+" sees device "+device+" on node "+on, func() bool {
		d, ok := n.r.Device(context.Background(), device)
		return ok == (on != "") && d.Node == on
	})
}
