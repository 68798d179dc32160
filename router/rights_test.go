package router

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// rights hold device patterns, separated by spaces.
type rights struct{ observe, command string }

func (r rights) MayObserve(device string) bool { return matches(r.observe, device) }

func (r rights) MayCommand(device string) bool { return matches(r.command, device) }

func matches(patterns, device string) bool {
	for pattern := range strings.SplitSeq(patterns, " ") {
		if ok, _ := path.Match(pattern, device); ok {
			return true
		}
	}
	return false
}

// limited connects a front end with rights that takes all telemetry.
func (g *gateway) limited(user string, r rights) *peer {
	g.t.Helper()
	return g.connect(session.Info{Role: session.RoleFrontend, Name: user, Telemetry: protocol.TelemetryAll, Rights: r})
}

// TestObserveIsFiltered: a front end gets no notices, messages or telemetry of
// a device that it may not observe.
func TestObserveIsFiltered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, oven := g.device("press-1"), g.device("oven-1")
		all, some, none := g.frontend("all"), g.limited("some", rights{observe: "press-*"}), g.limited("none", rights{command: "*"})
		synctest.Wait()
		for p, want := range map[*peer][]string{all: {"oven-1", "press-1"}, some: {"press-1"}, none: nil} {
			var got []string
			for _, d := range p.welcome.Devices {
				got = append(got, d.DeviceID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s is welcomed with %v, want %v", p.sess.Name(), got, want)
			}
		}
		g.quiet()

		send := map[string]func(from *peer){
			"text":         func(from *peer) { from.send(`{"type":"test.state"}`) },
			"@frontends":   func(from *peer) { from.send(`{"type":"test.state","dst":"@frontends"}`) },
			"telemetry":    func(from *peer) { from.sendBinary(telemetry(0, 10)) },
			"disconnected": func(from *peer) { from.hangUp() },
		}
		for _, name := range []string{"text", "@frontends", "telemetry", "disconnected"} {
			send[name](press)
			synctest.Wait()
			if a, s, n := len(all.take()), len(some.take()), len(none.take()); a != 1 || s != 1 || n != 0 {
				t.Errorf("%s of press-1: %d, %d and %d messages, want 1, 1, 0", name, a, s, n)
			}
			send[name](oven)
			synctest.Wait()
			if a, s, n := len(all.take()), len(some.take()), len(none.take()); a != 1 || s != 0 || n != 0 {
				t.Errorf("%s of oven-1: %d, %d and %d messages, want 1, 0, 0", name, a, s, n)
			}
		}
		g.device("press-2")
		g.device("oven-2")
		synctest.Wait()
		if a, s, n := len(all.take()), some.take(), len(none.take()); a != 2 || len(s) != 1 || !strings.Contains(s[0].text, "press-2") || n != 0 {
			t.Errorf("online notices: %d, %v and %d", a, s, n)
		}
	})
}

// TestDirectMessagesAreFiltered: a device cannot reach a front end that may
// not observe it. The error is the same as for a front end that does not
// exist.
func TestDirectMessagesAreFiltered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		oven := g.device("oven-1")
		seeing, blind := g.frontend("bob"), g.limited("ann", rights{observe: "press-*"})
		g.quiet()
		for _, dst := range []string{"@user/ann", "@session/" + blind.sess.ID().String()} {
			oven.send(`{"type":"test.state","id":"1","dst":"` + dst + `"}`)
			oven.oneError(protocol.ErrNotFound, "1")
			blind.none()
		}
		// Messages between front ends are not affected.
		seeing.send(`{"type":"hello.there","dst":"@user/ann"}`)
		blind.one()
		seeing.send(`{"type":"hello.there","dst":"@session/` + blind.sess.ID().String() + `"}`)
		blind.one()
		seeing.send(`{"type":"hello.there","dst":"@frontends"}`)
		blind.one()
		if n, err := g.broadcast(protocol.Message{Type: "notice.all"}); n != 2 || err != nil {
			t.Errorf("a broadcast of the API's reached %d front ends, %v", n, err)
		}
	})
}

// TestCommandIsRefused: the error is not_allowed, whether the device is
// connected or not, and the device gets nothing.
func TestCommandIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, oven := g.device("press-1"), g.device("oven-1")
		fe := g.limited("ann", rights{observe: "*", command: "press-*"})
		watcher := g.limited("eve", rights{observe: "*"})
		g.quiet()
		for _, dst := range []string{"oven-1", "oven-9"} {
			fe.send(`{"type":"test.stop","id":"7","dst":"` + dst + `","urgent":true}`)
			fe.oneError(protocol.ErrNotAllowed, "7")
			fe.send(`{"type":"test.stop","dst":"` + dst + `"}`)
			fe.oneError(protocol.ErrNotAllowed, "")
		}
		watcher.send(`{"type":"test.stop","id":"7","dst":"press-1"}`)
		watcher.oneError(protocol.ErrNotAllowed, "7")
		oven.none()
		press.none()
		fe.send(`{"type":"test.stop","id":"8","dst":"press-9"}`)
		fe.oneError(protocol.ErrDeviceOffline, "8")
		fe.send(`{"type":"test.stop","id":"9","dst":"press-1"}`)
		press.one()
		press.send(`{"type":"test.stopped","re":"9"}`)
		if m := fe.one(); m.Re != "9" {
			t.Errorf("answer %v", m)
		}
		watcher.none()
	})
}

// TestAnswerToAFrontendThatMayNotObserve: a front end that may command but not
// observe gets the answers, and nothing else of the device.
func TestAnswerToAFrontendThatMayNotObserve(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, fe := g.device("d1"), g.limited("ann", rights{command: "d1"})
		g.quiet()
		fe.send(`{"type":"test.stop","id":"9","dst":"d1"}`)
		d.one()
		d.send(`{"type":"test.state"}`, `{"type":"test.stopped","re":"9"}`)
		if m := fe.one(); m.Re != "9" {
			t.Errorf("got %v", m)
		}
	})
}

// TestSubscriptionIsFiltered: a front end cannot list a device that it may not
// observe. A subscription to all devices covers those that it may observe.
func TestSubscriptionIsFiltered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, oven := g.device("press-1"), g.device("oven-1")
		fe := g.limited("ann", rights{observe: "press-*"})
		g.quiet()
		fe.send(`{"type":"gateway.subscribe","id":"1","payload":{"devices":["press-1","oven-1"]}}`)
		if e := fe.oneError(protocol.ErrNotAllowed, "1"); !strings.Contains(e.Message, "oven-1") {
			t.Errorf("says %q", e.Message)
		}
		press.sendBinary(telemetry(0, 1)) // still all
		fe.one()
		for _, payload := range []string{`{"devices":["press-1"]}`, `{"telemetry":"all"}`} {
			fe.send(`{"type":"gateway.subscribe","payload":` + payload + `}`)
			press.sendBinary(telemetry(0, 1))
			fe.one()
			oven.sendBinary(telemetry(0, 1))
			fe.none()
		}
		fe.send(`{"type":"gateway.unsubscribe","payload":{"telemetry":"all"}}`)
		press.sendBinary(telemetry(0, 1))
		fe.none()
		fe.hangUp()
		synctest.Wait()
		if n := len(g.r.registry.allDevices.load()) + len(g.r.registry.frontends()); n != 0 {
			t.Errorf("%d entries of a front end that is gone", n)
		}
	})
}

// TestRightsChange: after a change of rights the front end gets notices of the
// devices that appear or disappear for it, and its subscription changes
// accordingly.
func TestRightsChange(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, oven := g.device("press-1"), g.device("oven-1")
		fe, lister := g.limited("ann", rights{observe: "press-*"}), g.frontend("bob")
		lister.send(`{"type":"gateway.subscribe","payload":{"devices":["press-1","oven-1","oven-2"]}}`)
		g.quiet()
		telemetryOf := func(p *peer) (from string) {
			for _, d := range []*peer{press, oven} {
				d.sendBinary(telemetry(0, 1))
				synctest.Wait()
				if len(p.take()) > 0 {
					from += d.sess.Name() + " "
				}
			}
			g.quiet()
			return from
		}

		g.r.SetRights(fe.sess, rights{observe: "oven-*"})
		synctest.Wait()
		told := map[string]string{}
		for _, m := range fe.take() {
			var n protocol.DeviceNotice
			if err := json.Unmarshal(m.Payload, &n); err != nil {
				t.Fatal(err)
			}
			told[n.DeviceID] = m.Type + " " + n.Reason
		}
		if len(told) != 2 || told["press-1"] != "gateway.device_offline not_permitted" || told["oven-1"] != "gateway.device_online permitted" {
			t.Errorf("told %v", told)
		}
		if from := telemetryOf(fe); from != "oven-1 " {
			t.Errorf("telemetry of %s", from)
		}
		g.r.SetRights(fe.sess, nil)
		fe.notice(protocol.TypeDeviceOnline, "permitted")
		if from := telemetryOf(fe); from != "press-1 oven-1 " {
			t.Errorf("telemetry of %s", from)
		}
		g.r.SetRights(fe.sess, nil)
		fe.none()

		g.r.SetRights(lister.sess, rights{observe: "press-*"})
		lister.notice(protocol.TypeDeviceOffline, "not_permitted")
		if from := telemetryOf(lister); from != "press-1 " {
			t.Errorf("telemetry of %s", from)
		}
		if g.r.registry.devices["oven-2"] != nil {
			t.Error("a device that never was and that nobody lists is kept")
		}
		// SetRights has no effect on a device, nor on a front end that has
		// ended.
		g.r.SetRights(press.sess, rights{})
		fe.hangUp()
		g.r.SetRights(fe.sess, rights{observe: "*"})
		synctest.Wait()
		if n := len(g.r.registry.interest.limited); n != 0 {
			t.Errorf("%d entries of a front end that is gone", n)
		}
	})
}

// TestRenew: the token goes to the callback and nowhere else.
func TestRenew(t *testing.T) {
	var tokens []string
	renew := func(o *Options, _ *session.Options) {
		o.Renew = func(s *session.Session, token string) (protocol.Expiry, *protocol.Error) {
			tokens = append(tokens, s.Name()+" "+token)
			left := int64(1500)
			if token == "wrong" {
				return protocol.Expiry{}, protocol.NewError(protocol.ErrNotAllowed, "not this one")
			}
			return protocol.Expiry{ExpiresInMS: &left}, nil
		}
	}
	inBubble(t, func(_ *testing.T, g *gateway) {
		d, fe := g.device("d1"), g.frontend("ann")
		g.quiet()
		for _, p := range []*peer{d, fe} {
			p.send(`{"type":"gateway.renew","id":"1","dst":"@frontends","payload":{"token":"right"}}`)
			g.only(`{"type":"gateway.renewed","re":"1","payload":{"expires_in_ms":1500}}`, p)
			p.send(`{"type":"gateway.renew","payload":{"token":"right"}}`)
			g.only("")
			p.send(`{"type":"gateway.renew","id":"2","payload":{"token":"wrong"}}`)
			p.oneError(protocol.ErrNotAllowed, "2")
			p.send(`{"type":"gateway.renew","id":"3","payload":"right"}`)
			p.oneError(protocol.ErrBadMessage, "3")
			g.only("")
		}
	}, renew)
	if want := "d1 right,d1 right,d1 wrong,ann right,ann right,ann wrong"; strings.Join(tokens, ",") != want {
		t.Errorf("renewed with %v, want %s", tokens, want)
	}
	inBubble(t, func(_ *testing.T, g *gateway) {
		d := g.device("d1")
		g.quiet()
		d.send(`{"type":"gateway.renew","id":"1","payload":{"token":"right"}}`)
		d.oneError(protocol.ErrNotAllowed, "1")
	})
}

// TestUnchangedRightsTakeNoLock: a front end that renews its credential again
// and again does not delay other sessions.
func TestUnchangedRightsTakeNoLock(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fe := g.connect(session.Info{Role: session.RoleFrontend, Rights: rights{observe: "oven-*"}})
		g.r.registry.mu.Lock()
		done := false
		go func() {
			g.r.SetRights(fe.sess, rights{observe: "oven-*"})
			done = true
		}()
		synctest.Wait()
		if !done {
			t.Error("equal rights wait for the registry")
		}
		g.r.registry.mu.Unlock()
	})
}
