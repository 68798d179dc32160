package router

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// gateway is a router with a Manager of its own, as the server wires them. It
// lives in a synctest bubble and is stopped with its test.
type gateway struct {
	t     testing.TB
	r     *Router
	m     *session.Manager
	peers []*peer
}

// inBubble runs a test with a gateway in a synctest bubble.
func inBubble(t *testing.T, body func(t *testing.T, g *gateway), change ...func(*Options, *session.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { body(t, newGateway(t, change...)) })
}

func newGateway(t testing.TB, change ...func(*Options, *session.Options)) *gateway {
	t.Helper()
	opts := Options{Node: "node-1"}
	var so session.Options
	for _, c := range change {
		c(&opts, &so)
	}
	r := New(opts)
	so.Callbacks = r
	m, err := session.NewManager(so)
	if err != nil {
		t.Fatal(err)
	}
	r.Bind(m)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error("stopping the manager: ", err)
		}
	})
	return &gateway{t: t, r: r, m: m}
}

// hooks are callbacks that a test runs in place of the router's. A hook calls
// the router's callback itself. A nil hook is the router's callback.
type hooks struct {
	session.Callbacks
	prepare    func(*session.Session) any
	connect    func(*session.Session)
	disconnect func(*session.Session, session.Cause)
}

func (h *hooks) Prepare(s *session.Session) any {
	if h.prepare == nil {
		return h.Callbacks.Prepare(s)
	}
	return h.prepare(s)
}

func (h *hooks) OnConnect(s *session.Session) {
	if h.connect == nil {
		h.Callbacks.OnConnect(s)
		return
	}
	h.connect(s)
}

func (h *hooks) OnDisconnect(s *session.Session, cause session.Cause) {
	if h.disconnect == nil {
		h.Callbacks.OnDisconnect(s, cause)
		return
	}
	h.disconnect(s, cause)
}

// hook puts hooks in front of the router. Nothing may be in progress in the
// gateway.
func (g *gateway) hook(h hooks) {
	h.Callbacks = g.r
	g.m.Options().Callbacks = &h
}

// add connects a peer. It may be called from any goroutine, unlike device and
// frontend.
func (g *gateway) add(info session.Info) (*peer, error) {
	p := newPeer(g.t)
	s, err := g.m.Add(info, p)
	if err != nil {
		return nil, err
	}
	p.attach(s)
	return p, nil
}

func (g *gateway) connect(info session.Info) *peer {
	g.t.Helper()
	p, err := g.add(info)
	if err != nil {
		g.t.Fatal(err)
	}
	g.peers = append(g.peers, p)
	return p
}

func (g *gateway) device(id string) *peer {
	g.t.Helper()
	return g.connect(session.Info{Role: session.RoleDevice, Name: id, Remote: "192.0.2.1:1"})
}

// frontend connects a front end of a user, "" for none, that takes all
// telemetry.
func (g *gateway) frontend(user string) *peer {
	g.t.Helper()
	return g.connect(session.Info{Role: session.RoleFrontend, Name: user, Telemetry: protocol.TelemetryAll, Remote: "192.0.2.2:2"})
}

// quiet forgets all messages so far, for tests that do not check welcomes and
// notices.
func (g *gateway) quiet() {
	synctest.Wait()
	for _, p := range g.peers {
		p.take()
	}
}

// only checks that exactly these peers got one message each, that each equals
// want, and forgets the messages.
func (g *gateway) only(want string, receivers ...*peer) {
	g.t.Helper()
	synctest.Wait()
	for i, p := range g.peers {
		expected := 0
		for _, r := range receivers {
			if r == p {
				expected++
			}
		}
		got := p.take()
		if len(got) != expected {
			g.t.Fatalf("peer %d (%s %q) got %d messages, want %d: %v", i, p.sess.Role(), p.sess.Name(), len(got), expected, got)
		}
		if expected == 1 && got[0].text != want {
			g.t.Fatalf("peer %d (%s %q) got\n%s\nwant\n%s", i, p.sess.Role(), p.sess.Name(), got[0].text, want)
		}
	}
}

// counted returns the number of errors with this code.
func (g *gateway) counted(code protocol.ErrorCode) uint64 { return g.r.Stats().Errors()[code] }

func codeOf(t testing.TB, err error) protocol.ErrorCode {
	t.Helper()
	var known *protocol.Error
	if !errors.As(err, &known) {
		t.Fatalf("%v is not an *protocol.Error", err)
	}
	return known.Code
}

// The router's API for HTTP, without other nodes to wait for.

func (g *gateway) status(id string) (DeviceStatus, bool) { return g.r.Device(g.t.Context(), id) }

func (g *gateway) listing() []DeviceStatus {
	all, silent := g.r.Devices(g.t.Context())
	if len(silent) != 0 {
		g.t.Errorf("nodes %v were asked", silent)
	}
	return all
}

func (g *gateway) broadcast(msg protocol.Message) (int, error) {
	del, err := g.r.Broadcast(g.t.Context(), msg)
	return del.Delivered, err
}

func (g *gateway) sendUser(user string, msg protocol.Message) (int, error) {
	del, err := g.r.SendUser(g.t.Context(), user, msg)
	return del.Delivered, err
}
