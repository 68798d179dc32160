package bustest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// attach connects a prepared peer as a device.
func (n *node) attach(p *peer, id string) *peer {
	n.t.Helper()
	s, err := n.m.Add(session.Info{Role: session.RoleDevice, Name: id, Remote: "192.0.2.1:1"}, p)
	if err != nil {
		n.t.Fatal(err)
	}
	p.attach(s)
	return p
}

func testMove(_ *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	fes := []*peer{ns[0].frontend(""), ns[1].frontend(""), ns[2].frontend("")}
	old := ns[0].device("d1")
	for _, fe := range fes {
		fe.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	}
	moved := ns[1].device("d1")
	old.awaitClose(protocol.CloseReplaced)
	for _, fe := range fes {
		fe.awaitNotice(protocol.TypeDeviceOffline, "d1", "a", "replaced")
		fe.awaitNotice(protocol.TypeDeviceOnline, "d1", "b", "connected")
	}
	for _, n := range ns {
		n.sees("d1", "b")
	}
	// Commands go to the device's new node.
	fes[0].send(`{"type":"get","dst":"d1","id":"1"}`)
	moved.send(echo(moved.await("command", isCommand)))
	fes[0].awaitType("done")
	moved.hangUp()
	for _, fe := range fes {
		fe.awaitNotice(protocol.TypeDeviceOffline, "d1", "b", "connection_lost")
	}
}

// testMovesOften connects devices to one node after another without closing
// the last connection. At the end every node finds each device on the node of
// its newest connection, and all other connections are closed.
func testMovesOften(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	const devices, moves = 5, 30
	var connections [devices][]*peer
	var on [devices]*node
	for range moves {
		for i := range devices {
			on[i] = ns[rand.IntN(len(ns))]
			connections[i] = append(connections[i], on[i].device(fmt.Sprint("d", i)))
		}
		// A real device needs longer to connect than the nodes to exchange the
		// news.
		time.Sleep(20 * time.Millisecond)
	}
	for i := range devices {
		for _, n := range ns {
			n.sees(fmt.Sprint("d", i), on[i].name)
		}
		for _, p := range connections[i][:moves-1] {
			p.awaitClose(protocol.CloseReplaced)
		}
		if last := connections[i][moves-1]; !last.s.Open() {
			t.Errorf("the last connection of device %d is closed", i)
		}
	}
	open := 0
	for _, n := range ns {
		open += n.m.Devices()
	}
	if open != devices {
		t.Errorf("%d devices are connected, want %d", open, devices)
	}
}

func testLeave(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	d := ns[0].device("d1")
	fe := ns[1].frontend("")
	ns[1].sees("d1", "a")
	fe.send(`{"type":"get","dst":"d1","id":"1"}`)
	d.await("command", isCommand)
	ns[0].stop()
	fe.awaitError(protocol.ErrDeviceDisconnected, "1")
	for _, n := range ns[1:] {
		n.sees("d1", "")
	}
	fe.await("notice", func(m protocol.Message) bool { return m.Type == protocol.TypeDeviceOffline })
	gatewaytest.Eventually(t, "the node is forgotten", func() bool { return len(ns[1].r.Nodes()) == 1 })
	offline := 0
	fe.mu.Lock()
	for _, m := range fe.texts {
		if m.Type == protocol.TypeDeviceOffline {
			offline++
		}
	}
	fe.mu.Unlock()
	if offline != 1 {
		t.Errorf("told %d times that the device is gone", offline)
	}
}

func testCutOff(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	away, here := ns[0].device("away"), ns[1].device("here")
	here.answers = echo
	fe := ns[1].frontend("u")
	ns[1].sees("away", "a")
	fe.send(`{"type":"get","dst":"away","id":"1"}`)
	away.await("command", isCommand)
	w.net.SetReachable(false)
	// Pending and new commands fail at once.
	fe.awaitError(protocol.ErrUnavailable, "1")
	gatewaytest.Eventually(t, "the bus is down", func() bool { return !ns[1].bus.Up() })
	fe.send(`{"type":"get","dst":"away","id":"2"}`)
	fe.awaitError(protocol.ErrUnavailable, "2")
	fe.send(`{"type":"get","dst":"nobody","id":"3"}`)
	fe.awaitError(protocol.ErrUnavailable, "3")
	// Local commands and messages still work.
	fe.send(`{"type":"get","dst":"here","id":"4","payload":4}`)
	if m := fe.awaitType("done"); m.Re != "4" {
		t.Errorf("answer %+v", m)
	}
	here.send(`{"type":"state","payload":5}`)
	fe.awaitType("state")
	w.net.SetReachable(true)
	gatewaytest.Eventually(t, "the bus is back", func() bool { return ns[0].bus.Up() && ns[1].bus.Up() && len(ns[1].r.Nodes()) == 1 })
	ns[1].sees("away", "a")
	fe.send(`{"type":"get","dst":"away","id":"6"}`)
	away.send(echo(away.await("command 6", func(m protocol.Message) bool { return m.ID == "6" })))
	if m := fe.awaitType("done"); m.Re != "6" {
		t.Errorf("answer %+v", m)
	}
	if away.count("get") != 2 {
		t.Errorf("the device got %d commands, want those two that were not refused", away.count("get"))
	}
}

func testMeanwhile(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	fe := ns[1].frontend("")
	leaves, moves := ns[0].device("leaves"), ns[0].device("moves")
	for _, d := range []string{"leaves", "moves"} {
		fe.awaitNotice(protocol.TypeDeviceOnline, d, "a", "connected")
		ns[1].sees(d, "a")
	}
	w.net.SetReachable(false)
	gatewaytest.Eventually(t, "both know", func() bool { return !ns[0].bus.Up() && !ns[1].bus.Up() })
	leaves.hangUp()
	comes := ns[0].device("comes")
	time.Sleep(10 * time.Millisecond)
	there := ns[1].device("moves")
	w.net.SetReachable(true)
	for _, n := range ns {
		n.sees("leaves", "")
		n.sees("comes", "a")
		n.sees("moves", "b")
	}
	moves.awaitClose(protocol.CloseReplaced)
	if !comes.s.Open() || !there.s.Open() {
		t.Error("a connection that should have stayed is closed")
	}
}
