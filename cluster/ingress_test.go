package cluster

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
)

func TestMessagesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	const text = `{"dst":"@user/mia","type":"note","payload":"é"}`
	if got := redis.Do("PUBLISH", "labgate:ingress", text); got != int64(2) {
		t.Fatalf("%v nodes listen, want 2", got)
	}
	for _, x := range n {
		x.await(t, "it has come", func() bool { return len(x.external) == 1 && x.external[0] == text })
		x.Lock()
		x.refuse = &protocol.Error{Code: protocol.ErrNotFound, Message: "no such session"}
		x.Unlock()
	}
	redis.Do("PUBLISH", "labgate:ingress", text)
	redis.Do("PUBLISH", "labgate:ingress", text)
	for _, x := range n {
		await(t, "they are refused", func() bool { return x.Stats().IngressRefused["not_found"] == 2 })
		x.Lock()
		x.refuse = errors.New("of another kind")
		x.Unlock()
	}
	redis.Do("PUBLISH", "labgate:ingress", "")
	for _, x := range n {
		await(t, "it is refused", func() bool {
			return maps.Equal(x.Stats().IngressRefused, map[string]uint64{"not_found": 2, "bad_message": 1})
		})
		if s := x.Stats(); s.IngressAccepted != 1 || s.Malformed != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestALongMessageOfAnotherProgram(t *testing.T) {
	b, m := testBus(t)
	rc := &redisConn{bus: b, live: true}
	rc.dispatch(b.names.ingress, strings.Repeat("x", maxExternal+1))
	if s := b.Stats(); len(m.external) != 0 || s.IngressRefused["too_large"] != 1 {
		t.Errorf("%d taken, %+v", len(m.external), s)
	}
	rc.dispatch(b.names.ingress, strings.Repeat("x", maxExternal))
	if len(m.external) != 1 {
		t.Error("one of the greatest length was not taken")
	}
}

func TestRubbishOnTheChannelsOfNodes(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	rubbish := []string{"", "hello", "\x01", strings.Repeat("\xff", 100)}
	for _, text := range rubbish {
		redis.Do("PUBLISH", "labgate:all", text)
		redis.Do("PUBLISH", n[0].self.channel, text)
	}
	await(t, "it is counted", func() bool { return n[0].Stats().Malformed == uint64(2*len(rubbish)) })
	talk(t, n[0], n[1])
}

func TestAPanicOfTheMemberEndsNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	n[0].Bus.calls.Lock()
	n[0].Bus.member = panics{n[0].member}
	n[0].Bus.calls.Unlock()
	redis.Do("PUBLISH", "labgate:ingress", "{}")
	talk(t, n[0], n[1])
}

type panics struct{ *member }

func (panics) ReceiveExternal([]byte) error { panic("of the test") }

func TestAFloodOfRubbishDoesNotFloodTheLog(t *testing.T) {
	b, m := testBus(t)
	var log bytes.Buffer
	b.log = zerolog.New(&log)
	m.refuse = &protocol.Error{Code: protocol.ErrBadMessage, Message: `field "dst": missing`}
	rc := &redisConn{bus: b, live: true}
	for range 100 {
		rc.dispatch(b.names.ingress, "hello")
		rc.dispatch(b.names.all, "hello")
	}
	b.at(3 * time.Second)
	rc.dispatch(b.names.ingress, "hello again")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), log.String())
	}
	for _, want := range []string{`"reason":"bad_message"`, `"since":100`, `"begins":"hello again"`, "labgate:ingress", `field \"dst\": missing`} {
		if !strings.Contains(lines[2], want) {
			t.Errorf("%s: does not say %s", lines[2], want)
		}
	}
	if s := b.Stats(); s.IngressRefused["bad_message"] != 101 || s.Malformed != 100 {
		t.Errorf("%+v", s)
	}
}
