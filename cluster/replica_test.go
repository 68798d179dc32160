package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// unheard changes what a node has, as if the record of it were lost on its way.
func (n *node) unheard(change func()) {
	n.Bus.mu.Lock()
	up := n.Bus.up
	n.Bus.up = false
	n.Bus.mu.Unlock()
	change()
	n.Bus.mu.Lock()
	n.Bus.up = up
	n.Bus.mu.Unlock()
}

func TestAGapIsFilled(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b")
	a, b := n[0], n[1]
	for i := range uint64(3) {
		a.Hold(federation.Holding{Device: fmt.Sprint("press-", i), Epoch: 10 + i})
	}
	a.User("mia", true)
	a.User("joe", true)
	b.await(t, "b knows", func() bool { return len(b.devices) == 3 && len(b.users) == 2 })
	a.unheard(func() {
		a.Release(federation.Release{Device: "press-0", Epoch: 10, Reason: "heartbeat_timeout", End: federation.Range{Chain: 1, To: 99}})
		a.Hold(federation.Holding{Device: "press-1", Epoch: 21})
		a.User("mia", false)
		a.Hold(federation.Holding{Device: "press-4", Epoch: 24})
	})
	a.Hold(federation.Holding{Device: "press-5", Epoch: 25}) // which arrives, and shows the gap
	b.await(t, "b knows all", func() bool {
		return b.has("released a press-0 10 heartbeat_timeout 99") && b.has("held a press-1 21") && b.has("user a mia false") &&
			b.has("held a press-4 24") && b.has("held a press-5 25")
	})
	for _, event := range []string{"held a press-2 12", "held a press-5 25", "held a press-4 24", "user a joe true", "joined a"} {
		if times := b.times(event); times != 1 {
			t.Errorf("%q %d times", event, times)
		}
	}
	b.Lock()
	defer b.Unlock()
	if len(b.devices) != 4 || len(b.users) != 1 {
		t.Errorf("%v, %v", b.devices, b.users)
	}
}

func TestAGapIsSeenByTheHeartbeat(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b")
	n[0].unheard(func() { n[0].Hold(federation.Holding{Device: "press-1", Epoch: 1}) })
	n[1].await(t, "b knows", func() bool { return n[1].has("held a press-1 1") })
}

func TestAReleaseThatIsForgottenHasAReason(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b")
	n[0].Hold(federation.Holding{Device: "press-1", Epoch: 1})
	n[1].await(t, "b knows", func() bool { return n[1].has("held a press-1 1") })
	n[0].unheard(func() {
		n[0].Release(federation.Release{Device: "press-1", Epoch: 1, Reason: "idle"})
		n[0].Bus.mu.Lock()
		n[0].local.forgetReleased(n[0].now() + 1)
		n[0].Bus.mu.Unlock()
	})
	n[0].User("mia", true)
	n[1].await(t, "b knows", func() bool { return n[1].has("released a press-1 1 connection_lost 0") })
}

// TestReleasedWhileANodeWasTakenForLost: only the release says how far a
// device's telemetry went.
func TestReleasedWhileANodeWasTakenForLost(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	h := federation.Holding{Device: "press-1", Epoch: 1}
	b.hears(b.names.all, header{node: 7, number: 1, sent: b.now()}, appendHold(nil, 1, &h))
	b.at(time.Minute)
	b.checkPeers(b.now(), 0)
	if m.times("left  node_lost") != 1 {
		t.Fatal(m.events)
	}
	b.calls.Lock() // it was there all the time
	b.addPeer(7, b.now()).clock.exchange(b.now(), b.now(), b.now())
	b.calls.Unlock()
	r := federation.Release{Device: "press-1", Epoch: 1, Reason: "idle", Begin: federation.Range{First: 1, Chain: 1, From: 9, To: 9, Count: 9}, End: federation.Range{First: 1, Chain: 1, From: 99, To: 99, Count: 99}}
	still := federation.Release{Device: "press-2", Epoch: 2, Reason: "idle"}
	back := federation.Holding{Device: "press-2", Epoch: 3}
	b.hears(b.names.all, header{node: 7, number: 2, sent: b.now()}, appendNumbers(nil, recordSnapshot, "", 5),
		appendRelease(nil, 0, &r), appendRelease(nil, 0, &still), appendHold(nil, 0, &back), appendNumbers(nil, recordSnapshotEnd, "", 5, 3))
	if m.times("released  press-1 1 idle 99") != 1 || m.times("released  press-2 2 idle 0") != 0 {
		t.Error(m.events)
	}
}

// TestReleasedDevicesAreBounded: the oldest give way, more or less.
func TestReleasedDevicesAreBounded(t *testing.T) {
	o := newLocalState()
	const more = maxReleased + 1000
	for i := range int64(more) {
		h := federation.Holding{Device: fmt.Sprint("press-", i), Epoch: 1}
		o.hold(h, false)
		o.release(federation.Release{Device: h.Device, Epoch: 1}, i, false)
	}
	if _, latest := o.released[fmt.Sprint("press-", more-1)]; len(o.released) != maxReleased || !latest {
		t.Errorf("%d are kept, the latest among them: %t", len(o.released), latest)
	}
	if o.forgetReleased(more); len(o.released) != 0 {
		t.Errorf("%d are kept for ever", len(o.released))
	}
}

// changes are numbered records for tests without Redis.
func userRecord(seq uint64, user string) []byte { return appendUser(nil, seq, user, true) }

func TestChangesAfterAGapWaitForTheSnapshot(t *testing.T) {
	b, m := testBus(t)
	p := known(b, 7)
	b.said(&p.to)
	number := uint64(0)
	hear := func(records ...[]byte) {
		number++
		b.hears(b.names.all, header{node: 7, number: number, sent: b.now()}, records...)
	}
	hear(userRecord(1, "u1"))
	hear(userRecord(1, "again")) // which is known already
	b.at(2 * time.Second)        // asking is limited in time
	hear(userRecord(4, "u4"), userRecord(5, "u5"), userRecord(7, "u7"))
	if kinds, _ := b.said(&p.to); len(kinds) != 1 || kinds[0] != recordSyncRequest {
		t.Fatalf("said %v, want to ask once", kinds)
	}
	if len(m.users) != 1 {
		t.Errorf("users %v before the snapshot", m.users)
	}
	hear(appendNumbers(nil, recordSnapshot, "", 3), userRecord(0, "u1"), userRecord(0, "u2"), userRecord(0, "u3"), appendNumbers(nil, recordSnapshotEnd, "", 3, 3))
	if len(m.users) != 5 || p.seq != 5 || len(p.waiting) != 1 {
		t.Errorf("users %v, seq %d, %d wait", m.users, p.seq, len(p.waiting))
	}
	hear(userRecord(6, "u6"))
	if len(m.users) != 7 || p.seq != 7 || len(p.waiting) != 0 || p.waitingBytes != 0 {
		t.Errorf("users %v, seq %d, %d wait, %d bytes", m.users, p.seq, len(p.waiting), p.waitingBytes)
	}
	hear(appendNumbers(nil, recordSnapshot, "", 2), appendNumbers(nil, recordSnapshotEnd, "", 2, 0)) // an old one
	if len(m.users) != 7 {
		t.Errorf("users %v after an old snapshot", m.users)
	}
}

func TestAnIncompleteSnapshotIsAskedForAgain(t *testing.T) {
	b, m := testBus(t)
	p := known(b, 7)
	for name, records := range map[string][][]byte{
		"a record missing":      {appendNumbers(nil, recordSnapshot, "", 3), userRecord(0, "u1"), appendNumbers(nil, recordSnapshotEnd, "", 3, 2)},
		"the end of another":    {appendNumbers(nil, recordSnapshot, "", 3), userRecord(0, "u1"), appendNumbers(nil, recordSnapshotEnd, "", 4, 1)},
		"the beginning missing": {userRecord(0, "u1"), appendNumbers(nil, recordSnapshotEnd, "", 3, 1)},
	} {
		b.at(time.Duration(b.now())*time.Microsecond + time.Minute)
		b.said(&p.to)
		b.hears(b.self.channel, header{node: 7, number: 1, sent: b.now()}, records...)
		if kinds, _ := b.said(&p.to); len(kinds) != 1 || kinds[0] != recordSyncRequest {
			t.Errorf("%s: said %v, want to ask", name, kinds)
		}
		if len(m.users) != 0 || p.seq != 0 {
			t.Errorf("%s: users %v, seq %d", name, m.users, p.seq)
		}
	}
}

func TestWaitingChangesAreBounded(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 7)
	for i := range uint64(30_000) {
		b.hears(b.names.all, header{node: 7, number: i, sent: b.now()}, userRecord(10+i, fmt.Sprintf("a-rather-long-name-of-a-user-%d", i)))
		if p.waitingBytes > maxChanges {
			t.Fatalf("%d bytes wait", p.waitingBytes)
		}
	}
	if p.waitingBytes == 0 || len(p.waiting) == 0 {
		t.Error("nothing waits")
	}
}

func TestOtherNodesAreBounded(t *testing.T) {
	b, _ := testBus(t)
	for i := range federation.NodeID(2 * maxPeers) {
		b.hears(b.names.all, header{node: i + 1, number: 1, sent: b.now()}, appendNumbers(nil, recordHeartbeat, "x", 0))
	}
	if len(b.peers) != maxPeers {
		t.Errorf("%d nodes are known, at most %d may be", len(b.peers), maxPeers)
	}
}

func TestSnapshotsAreNotSentTooOften(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 7)
	b.User("mia", true)
	snapshots := 0
	for range 10 {
		b.said(&b.all)
		b.hears(b.self.channel, header{node: 7, number: 1, sent: b.now()}, appendNumbers(nil, recordSyncRequest, "x", 5, 0))
		kinds, bodies := b.said(&p.to)
		if len(kinds) == 0 || kinds[0] != recordSyncReply || bodies[0].uvarint() != 5 {
			t.Fatalf("said %v, want an answer", kinds)
		}
		if len(kinds) > 1 {
			snapshots++
		}
	}
	if snapshots != 1 {
		t.Errorf("%d snapshots at one time", snapshots)
	}
}

func TestWhoComesAsksAllAndIsAnswered(t *testing.T) {
	b, _ := testBus(t)
	b.up = false
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	b.connected(&redisConn{bus: b, ctx: ctx})
	kinds, bodies := b.said(&b.all)
	if len(kinds) != 2 || kinds[0] != recordSyncRequest || kinds[1] != recordHeartbeat {
		t.Fatalf("said %v, want a question and a heartbeat", kinds)
	}
	asked, have := bodies[0].uvarint(), bodies[0].uvarint()

	other, _ := testBus(t)
	other.User("mia", true)
	p := known(other, b.id)
	other.said(&other.all)
	other.hears(b.names.all, header{node: b.id, number: 1, sent: b.now()}, appendNumbers(nil, recordSyncRequest, "b", asked, have))
	kinds, bodies = other.said(&p.to)
	if len(kinds) != 1 || kinds[0] != recordSyncReply {
		t.Fatalf("said %v, want an answer, and no snapshot that may not be needed", kinds)
	}
	if echo, seq := bodies[0].uvarint(), bodies[0].uvarint(); echo != asked || seq != 1 {
		t.Errorf("answered to %d, asked at %d; number %d, want 1", echo, asked, seq)
	}
}

func TestAnAnswerShowsWhatWasMissed(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 7)
	b.said(&p.to)
	answer := func() {
		b.hears(b.self.channel, header{node: 7, number: 1, sent: b.now()}, appendNumbers(nil, recordSyncReply, "x", uint64(b.now()), 3))
	}
	b.at(5 * time.Second)
	answer()
	answer() // once is enough
	if kinds, bodies := b.said(&p.to); len(kinds) != 1 || kinds[0] != recordSyncRequest || bodies[0].uvarint() != uint64(b.now()) || bodies[0].uvarint() != 0 {
		t.Errorf("said %v, want to ask for what comes after 0", kinds)
	}
	b.at(7 * time.Second)
	p.lastHeard = b.now()
	b.checkPeers(b.now(), 0)
	if kinds, _ := b.said(&p.to); len(kinds) != 1 || kinds[0] != recordSyncRequest {
		t.Errorf("said %v, want to ask again what was not answered", kinds)
	}
}
