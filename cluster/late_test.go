package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

func TestAMessageThatWasHeldUpIsNotDelivered(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	proxy := redistest.StartProxy(t, redis.Addr())
	quick := func(o *Options) { o.Timeout = time.Second }
	a, b := start(t, redis.URLVia(proxy.Addr()), "a", quick), start(t, redis.URL(), "b", quick)
	acquainted(t, a, b)
	talk(t, a, b)
	proxy.Hold()
	if err := a.Send(b.Self(), &federation.Message{Kind: federation.KindCommand, Corr: 77, Name: "press-1", Text: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	a.await(t, "a knows that it is cut off", func() bool { return a.has("up false") })
	time.Sleep(2*time.Second - time.Second/4)
	proxy.Release()
	await(t, "b got it, too late", func() bool { return b.Stats().Stale > 0 })
	a.await(t, "a is up again", func() bool { return a.isUp && len(a.there) == 1 })
	talk(t, a, b)
	b.Lock()
	defer b.Unlock()
	for _, m := range b.messages {
		if m.Corr == 77 {
			t.Error("it was delivered")
		}
	}
}

func TestRedisStopsForAMoment(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	quick := func(o *Options) { o.Timeout = time.Second }
	a, b := start(t, redis.URL(), "a", quick), start(t, redis.URL(), "b", quick)
	acquainted(t, a, b)
	redis.Stop()
	if err := a.Send(b.Self(), message(77, "")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	redis.Continue()
	for _, n := range []*node{a, b} {
		n.await(t, "up again", func() bool { return n.has("up false") && n.isUp && len(n.there) == 1 })
	}
	talk(t, a, b)
	b.Lock()
	defer b.Unlock()
	for _, m := range b.messages {
		if m.Corr == 77 {
			t.Error("it was delivered")
		}
	}
}

func TestWhatTheSenderOfALateMessageIsTold(t *testing.T) {
	session, sender := uuid.UUID{1}, uuid.UUID{2}
	for name, c := range map[string]struct {
		sent federation.Message
		told *federation.Message
	}{
		"a command":                   {federation.Message{Kind: federation.KindCommand, Corr: 5, ID: "c"}, &federation.Message{Corr: 5, ID: "c"}},
		"a query":                     {federation.Message{Kind: federation.KindQuery, Corr: 6}, &federation.Message{Corr: 6}},
		"for a device":                {federation.Message{Kind: federation.KindToDevice, ID: "c", Sender: sender}, &federation.Message{ID: "c", Session: sender}},
		"for a session":               {federation.Message{Kind: federation.KindToSession, ID: "c", Session: session, Sender: sender}, &federation.Message{ID: "c", Session: sender}},
		"for a device, without an id": {federation.Message{Kind: federation.KindToDevice, Session: session}, nil},
		"an answer":                   {federation.Message{Kind: federation.KindAnswer, Corr: 5}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := testBus(t)
			p := known(b, 7)
			b.said(&p.to)
			h := header{node: 7, number: 1, sent: b.now()}
			b.at(time.Second + b.options.Timeout + time.Millisecond)
			b.hears(b.self.channel, h, appendMessage(nil, &c.sent))
			if len(m.messages) != 0 || b.Stats().Stale != 1 {
				t.Errorf("delivered %+v, %d stale", m.messages, b.Stats().Stale)
			}
			kinds, bodies := b.said(&p.to)
			if kinds[0] != recordSyncRequest {
				t.Errorf("said %v: its clock is not asked for", kinds)
			}
			if len(kinds) == 1 {
				if c.told != nil {
					t.Error("nothing was told")
				}
				return
			}
			var f federation.Message
			if err := readMessage(bodies[1], &f); err != nil || c.told == nil {
				t.Fatal(kinds, err)
			}
			if f.Kind != federation.KindFailure || f.Corr != c.told.Corr || f.ID != c.told.ID || f.Session != c.told.Session || f.Code != protocol.ErrUnavailable || len(f.Text) == 0 {
				t.Errorf("told %+v, want %+v", f, c.told)
			}
		})
	}
}

func TestJustInTime(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	h := header{node: 7, number: 1, sent: b.now()}
	b.at(time.Second + b.options.Timeout)
	b.hears(b.self.channel, h, appendMessage(nil, message(5, "")))
	if len(m.messages) != 1 {
		t.Error("not delivered")
	}
}

func TestNothingIsTakenFromANodeWhoseClockIsNotKnown(t *testing.T) {
	b, m := testBus(t)
	// The first that is heard may have been held up for long.
	b.hears(b.self.channel, header{node: 7, number: 1, sent: 5}, appendNumbers(nil, recordHeartbeat, "x", 0), appendMessage(nil, message(5, "")))
	if len(m.messages) != 0 || len(m.there) != 0 || b.Stats().Stale != 1 {
		t.Errorf("%+v, %v", m.messages, m.there)
	}
	// Nor does an answer count that took longer than things may take.
	asked := uint64(b.now())
	b.at(time.Second + b.options.Timeout + time.Millisecond)
	b.hears(b.self.channel, header{node: 7, number: 2, sent: 6}, appendNumbers(nil, recordSyncReply, "x", asked, 0))
	if len(m.there) != 0 {
		t.Error("joined by a late answer")
	}
	b.hears(b.self.channel, header{node: 7, number: 3, sent: 7}, appendNumbers(nil, recordSyncReply, "x", uint64(b.now()), 0), appendMessage(nil, message(6, "")))
	if len(m.there) != 1 {
		t.Error("not joined")
	}
	b.hears(b.self.channel, header{node: 7, number: 4, sent: 8}, appendMessage(nil, message(7, "")))
	if len(m.messages) != 1 || m.messages[0].Corr != 7 {
		t.Errorf("%+v", m.messages)
	}
}

func TestLateChangesCount(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	h := header{node: 7, number: 1, sent: b.now()}
	b.at(5 * time.Second)
	b.hears(b.names.all, h, userRecord(1, "mia"))
	if len(m.users) != 1 {
		t.Error("a change is a change, however late")
	}
}

func TestLostPacketsAreCounted(t *testing.T) {
	b, _ := testBus(t)
	known(b, 7)
	for _, number := range []uint64{10, 11, 14, 15, 3, 4, 6} {
		b.hears(b.names.all, header{node: 7, number: number, sent: b.now()}, appendNumbers(nil, recordHeartbeat, "x", 0))
	}
	b.hears(b.self.channel, header{node: 7, number: 90, sent: b.now()}, appendNumbers(nil, recordHeartbeat, "x", 0))
	if lost := b.Stats().Lost; lost != 3 {
		t.Errorf("%d lost, want 2 + 1", lost)
	}
}

func TestDeparted(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	heartbeat := func(number uint64) {
		b.hears(b.names.all, header{node: 7, number: number, sent: b.now()}, appendNumbers(nil, recordHeartbeat, "x", 0))
	}
	b.hears(b.names.all, header{node: 7, number: 1, sent: b.now()}, appendNumbers(nil, recordLeaving, ""), appendMessage(nil, message(1, "")))
	heartbeat(2) // overtaken by the announceLeave
	if fmt.Sprint(m.events) != "[joined  left  going_away]" || len(b.peers) != 0 || len(m.messages) != 0 {
		t.Errorf("%v, %v", m.events, b.peers)
	}
	b.at(2 * b.options.TTL)
	b.checkPeers(b.now(), 0)
	if heartbeat(3); len(b.peers) != 1 || len(b.departed) != 0 {
		t.Errorf("%v, %v: another node could have the number by now", b.peers, b.departed)
	}
}

func TestWhatWasNotWantedIsNotLost(t *testing.T) {
	b, m := testBus(t)
	known(b, 7)
	channel := b.names.telemetry + "press-1"
	hear := func(number uint64) {
		b.hears(channel, header{node: 7, number: number, sent: b.now()}, appendTelemetry(nil, &federation.Batch{Wire: []byte{1}}))
	}
	b.UpdateInterest("press-1", true)
	b.subscribed("press-1")
	hear(1)
	hear(2)
	b.UpdateInterest("press-1", false)
	hear(3) // which was on its way
	b.unsubscribed("press-1")
	b.UpdateInterest("press-1", true)
	b.subscribed("press-1")
	hear(9)
	if lost := b.Stats().Lost; lost != 0 || len(m.batches) != 3 {
		t.Errorf("%d lost, %d batches came", lost, len(m.batches))
	}
}
