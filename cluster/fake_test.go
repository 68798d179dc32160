package cluster

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/router/federation"
)

// node is a bus with a member that records what it is told.
type node struct {
	*Bus
	*member
}

// start joins a node to the Redis at a URL. It leaves with the test.
func start(t testing.TB, url, name string, change ...func(*Options)) *node {
	t.Helper()
	o := Options{URL: url, Name: name, TTL: 6 * time.Second, Timeout: 3 * time.Second, Logger: zerolog.New(zerolog.NewTestWriter(t)).With().Str("name", name).Logger()}
	for _, c := range change {
		c(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{b, newMember(t, b)}
	if err := b.Join(n.member); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Leave)
	return n
}

// together starts nodes and waits until they know each other.
func together(t testing.TB, url string, names ...string) []*node {
	t.Helper()
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = start(t, url, name)
	}
	acquainted(t, nodes...)
	return nodes
}

func acquainted(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		n.await(t, "all nodes are there", func() bool { return len(n.there) == len(nodes)-1 })
	}
}

// crash ends a node without a word.
func (n *node) crash() {
	n.cancel()
	n.done.Wait()
}

// member records what a bus tells it.
type member struct {
	inside atomic.Int32

	mu        sync.Mutex
	there     map[federation.NodeID]string
	events    []string // in words
	devices   map[string]federation.NodeID
	holdings  map[string]federation.Holding
	users     map[string][]federation.NodeID
	wants     map[string][]federation.NodeID
	overtaken map[string]uint64
	messages  []federation.Message
	returned  []federation.Message
	uncertain []federation.Message
	batches   []federation.Batch
	external  []string
	refuse    error // what ReceiveExternal returns
	isUp      bool
	hold      time.Duration // how long Receive takes

	t testing.TB
	b *Bus
}

func newMember(t testing.TB, b *Bus) *member {
	return &member{
		t: t, b: b, there: map[federation.NodeID]string{}, devices: map[string]federation.NodeID{}, holdings: map[string]federation.Holding{},
		users: map[string][]federation.NodeID{}, wants: map[string][]federation.NodeID{}, overtaken: map[string]uint64{},
	}
}

// await waits until something is so. It is called with the member's lock held.
func (m *member) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		m.mu.Lock()
		is := ok()
		events := slices.Clone(m.events)
		m.mu.Unlock()
		if is {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("did not happen in %v: %s; what happened:\n%s", patience, what, strings.Join(events, "\n"))
		}
	}
}

// has reports whether an event is there.
func (m *member) has(event string) bool { return slices.Contains(m.events, event) }

// times counts an event.
func (m *member) times(event string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e == event {
			n++
		}
	}
	return n
}

// call notes an event. A bus calls its member from one goroutine at a time.
func (m *member) call(event string, f func()) {
	if m.inside.Add(1) != 1 {
		m.t.Errorf("the member is called twice at once: %s", event)
	}
	defer m.inside.Add(-1)
	// A router calls its bus with its own lock held, which it takes here.
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.b.Up()
	f()
	if event != "" {
		m.events = append(m.events, event)
	}
}

func (m *member) of(n federation.NodeID) string { return m.there[n] }

func (m *member) known(n federation.NodeID) {
	if _, ok := m.there[n]; !ok {
		m.t.Errorf("told something of node %08x before it joined", uint32(n))
	}
}

func (m *member) NodeJoined(n federation.NodeID, name string) {
	m.call("joined "+name, func() {
		if _, ok := m.there[n]; ok {
			m.t.Errorf("node %s joined twice", name)
		}
		m.there[n] = name
	})
}

func (m *member) NodeLeft(n federation.NodeID, why federation.Departure) {
	m.call("", func() {
		m.known(n)
		m.events = append(m.events, fmt.Sprint("left ", m.of(n), " ", why))
		delete(m.there, n)
		maps.DeleteFunc(m.devices, func(_ string, by federation.NodeID) bool { return by == n })
		without(m.users, n)
		without(m.wants, n)
	})
}

func without(lists map[string][]federation.NodeID, n federation.NodeID) {
	for k, list := range lists {
		if list = slices.DeleteFunc(list, func(x federation.NodeID) bool { return x == n }); len(list) == 0 {
			delete(lists, k)
		} else {
			lists[k] = list
		}
	}
}

func (m *member) DeviceHeld(n federation.NodeID, h federation.Holding) {
	m.call("", func() {
		m.known(n)
		m.events = append(m.events, fmt.Sprintf("held %s %s %d", m.of(n), h.Device, h.Epoch))
		m.devices[h.Device], m.holdings[h.Device] = n, h
	})
}

func (m *member) DeviceReleased(n federation.NodeID, r federation.Release) {
	m.call("", func() {
		m.known(n)
		m.events = append(m.events, fmt.Sprintf("released %s %s %d %s %d", m.of(n), r.Device, r.Epoch, r.Reason, r.End.To))
		if m.devices[r.Device] == n {
			delete(m.devices, r.Device)
		}
	})
}

func (m *member) DeviceOvertaken(device string, epoch, by uint64, first bool) {
	m.call(fmt.Sprintf("overtaken %s %d %d", device, epoch, by), func() {
		m.overtaken[device] = by
		if first {
			m.events = append(m.events, "overtaken at first "+device)
		}
	})
}

func (m *member) UserChanged(n federation.NodeID, user string, here bool) {
	m.call(fmt.Sprintf("user %s %s %t", m.of(n), user, here), func() { m.known(n); setMember(m.users, user, n, here) })
}

func (m *member) InterestChanged(n federation.NodeID, device string, wanted bool) {
	m.call(fmt.Sprintf("want %s %s %t", m.of(n), device, wanted), func() { m.known(n); setMember(m.wants, device, n, wanted) })
}

func setMember(lists map[string][]federation.NodeID, key string, n federation.NodeID, on bool) {
	if on {
		if !slices.Contains(lists[key], n) {
			lists[key] = append(lists[key], n)
		}
	} else if lists[key] = slices.DeleteFunc(lists[key], func(x federation.NodeID) bool { return x == n }); len(lists[key]) == 0 {
		delete(lists, key)
	}
}

func (m *member) Receive(from federation.NodeID, msg *federation.Message) {
	m.call("", func() {
		m.known(from)
		time.Sleep(m.hold)
		m.messages = append(m.messages, keep(msg))
	})
}

// keep copies a message: what a member is given is valid during the call only.
func keep(msg *federation.Message) federation.Message {
	c := *msg
	c.Name, c.ID, c.Device = strings.Clone(c.Name), strings.Clone(c.ID), strings.Clone(c.Device)
	c.Text = bytes.Clone(c.Text)
	return c
}

func (m *member) Undelivered(_ federation.NodeID, msg *federation.Message, certain bool) {
	m.call("", func() {
		if certain {
			m.returned = append(m.returned, keep(msg))
		} else {
			m.uncertain = append(m.uncertain, keep(msg))
		}
	})
}

func (m *member) ReceiveTelemetry(from federation.NodeID, b *federation.Batch) {
	m.call("", func() {
		m.known(from)
		c := *b
		c.Device, c.Wire, c.Range.Before = strings.Clone(c.Device), bytes.Clone(c.Wire), slices.Clone(c.Range.Before)
		m.batches = append(m.batches, c)
	})
}

func (m *member) ReceiveExternal(text []byte) (err error) {
	m.call("", func() {
		if err = m.refuse; err == nil {
			m.external = append(m.external, string(text))
		}
	})
	return err
}

func (m *member) BusChanged(up bool) {
	m.call(fmt.Sprint("up ", up), func() {
		if m.isUp == up {
			m.t.Errorf("BusChanged(%t) twice", up)
		}
		m.isUp = up
	})
}
