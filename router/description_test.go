package router

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
	"github.com/labgate/labgate/session"
)

const pressDescription = `{"title": "Press", "actions": {"test.start": {"input": {"type":"object","properties":{"speed":{"type":"number","maximum":10}},"required":["speed"]}}, "test.stop": {}}}`

// describeAs sends a description and returns the answer.
func (p *peer) describeAs(text string) received {
	p.t.Helper()
	p.send(`{"type":"gateway.describe","id":"d","payload":` + text + `}`)
	synctest.Wait()
	for _, m := range p.take() {
		if m.Re == "d" {
			return m
		}
	}
	p.t.Fatal("no answer to gateway.describe")
	return received{}
}

// errorIn returns the text of a gateway.error with this code.
func (m received) errorIn(t *testing.T, code protocol.ErrorCode) string {
	t.Helper()
	var e protocol.Error
	if m.Type != protocol.TypeError || json.Unmarshal(m.Payload, &e) != nil || e.Code != code {
		t.Fatalf("%s, want an error %s", m.text, code)
	}
	return e.Message
}

func TestDescribe(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, fe := g.device("press-1"), g.frontend("ada")
		limited := g.limited("bob", rights{observe: "oven-*"})
		g.quiet()
		version := description.Version([]byte(pressDescription))

		if m := press.describeAs(pressDescription); m.Type != protocol.TypeDescribed || string(m.Payload) != `{"version":"`+version+`"}` {
			t.Fatal(m.text)
		}
		g.only(`{"type":"gateway.device_described","payload":{"device_id":"press-1","version":"`+version+`"}}`, fe)

		// Again the same: no notice.
		press.describeAs(pressDescription)
		g.only("")
		text, got, err := g.r.Description(t.Context(), "press-1")
		if err != nil || got != version || string(text) != pressDescription {
			t.Errorf("%s %s %v", text, got, err)
		}
		late := g.frontend("late")
		synctest.Wait()
		if d := late.welcome.Devices; len(d) != 1 || d[0].DescriptionVersion != version {
			t.Errorf("welcome: %+v", d)
		}
		if st, _ := g.status("press-1"); st.DescriptionVersion != version {
			t.Errorf("status: %+v", st)
		}

		// The description stays while the device is offline.
		press.hangUp()
		synctest.Wait()
		if _, got, err := g.r.Description(t.Context(), "press-1"); err != nil || got != version {
			t.Error(got, err)
		}
		g.quiet()
		press = g.device("press-1")
		synctest.Wait()
		var online protocol.DeviceNotice
		if m := fe.take(); len(m) != 1 || json.Unmarshal(m[0].Payload, &online) != nil || online.DescriptionVersion != version {
			t.Errorf("%v", m)
		}

		// Null removes the description.
		g.quiet()
		if m := press.describeAs("null"); string(m.Payload) != `{"version":null}` {
			t.Error(m.text)
		}
		g.only(`{"type":"gateway.device_described","payload":{"device_id":"press-1","version":null}}`, fe, late)
		if _, _, err := g.r.Description(t.Context(), "press-1"); codeOf(t, err) != protocol.ErrNotFound {
			t.Error(err)
		}
		if n := g.r.registry.descriptions; n.weight != 0 || len(n.shared) != 0 {
			t.Errorf("%+v is kept", n)
		}
		if limited.take() != nil {
			t.Error("a front end that may not observe the device was told")
		}
	})
}

func TestDescribeIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, fe := g.device("press-1"), g.frontend("ada")
		g.quiet()
		for _, c := range []struct{ payload, want string }{
			{`{"titel":1}`, `field "payload": at "/titel": is not known here; allowed: actions, channels, description`},
			{`[]`, `field "payload": is an array; allowed: an object`},
			{`{"title":"` + strings.Repeat("a", 64<<10) + `"}`, `field "payload": 65548 bytes; a description of at most 65536 is allowed`},
		} {
			if got := press.describeAs(c.payload).errorIn(t, protocol.ErrBadMessage); !strings.HasPrefix(got, c.want) {
				t.Error(got)
			}
		}
		press.send(`{"type":"gateway.describe","id":"d"}`)
		synctest.Wait()
		if got := press.take()[0].errorIn(t, protocol.ErrBadMessage); !strings.Contains(got, "missing") {
			t.Error(got)
		}
		if got := fe.describeAs(`{}`).errorIn(t, protocol.ErrNotAllowed); !strings.Contains(got, "only a device") {
			t.Error(got)
		}
		g.only("")
	})
}

// A device that changes its description again and again is refused; one that sends
// the same again is not.
func TestDescribeTooOften(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press := g.device("press-1")
		for i := range describeBurst {
			if m := press.describeAs(fmt.Sprintf(`{"title":"%d"}`, i)); m.Type != protocol.TypeDescribed {
				t.Fatal(m.text)
			}
		}
		press.describeAs(`{"title":"new"}`).errorIn(t, protocol.ErrRateLimited)
		last := fmt.Sprintf(`{"title":"%d"}`, describeBurst-1)
		for range 20 {
			if m := press.describeAs(last); m.Type != protocol.TypeDescribed {
				t.Fatal(m.text)
			}
		}
		// Another connection of the device changes nothing.
		press = g.device("press-1")
		press.describeAs(`{"title":"new"}`).errorIn(t, protocol.ErrRateLimited)
		time.Sleep(time.Second / describeRate)
		if m := press.describeAs(`{"title":"new"}`); m.Type != protocol.TypeDescribed {
			t.Fatal(m.text)
		}
	})
}

// A description counts as many messages of the device's rate.
func TestDescribeIsCharged(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press := g.device("press-1")
		refused := 0
		for range 10 {
			press.send(`{"type":"gateway.describe","payload":{}}`)
			synctest.Wait()
			refused += len(press.take())
		}
		if refused != 1 { // told once a second
			t.Errorf("%d errors", refused)
		}
	}, func(_ *Options, so *session.Options) { so.DeviceRate = session.Rate{Messages: 10, Burst: 40} })
}

// The memory of all descriptions is bounded: those of offline devices go first.
func TestDescriptionsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		gone, press := g.device("gone-1"), g.device("press-1")
		gone.describeAs(`{"title":"gone"}`)
		gone.hangUp()
		synctest.Wait()
		x := &g.r.registry.descriptions
		x.weight += maxDescriptions // as if others had sent as much
		if m := press.describeAs(`{"title":"press"}`).errorIn(t, protocol.ErrOverloaded); !strings.Contains(m, "128 MiB") {
			t.Error(m)
		}
		if _, _, err := g.r.Description(t.Context(), "gone-1"); codeOf(t, err) != protocol.ErrNotFound {
			t.Error("the description of a device that is offline was kept")
		}
		x.weight -= maxDescriptions
		if m := press.describeAs(`{"title":"press"}`); m.Type != protocol.TypeDescribed {
			t.Error(m.text)
		}
		// Devices with one description share it.
		weight := x.weight
		other := g.device("press-2")
		other.describeAs(`{"title":"press"}`)
		if x.weight != weight || len(x.shared) != 1 {
			t.Errorf("%d bytes for one description of two devices, %d for one", x.weight, weight)
		}
		press.describeAs(`null`)
		if _, _, err := g.r.Description(t.Context(), "press-2"); err != nil {
			t.Error(err)
		}
		other.describeAs(`null`)
		if x.weight != 0 {
			t.Errorf("%d bytes for nothing", x.weight)
		}
	})
}

// A command to a described action is checked, whoever sends it.
func TestCommandsAreChecked(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		press, fe := g.device("press-1"), g.frontend("ada")
		press.describeAs(pressDescription)
		g.quiet()
		const problem = `field "payload": at "/speed": 11 is too large; allowed: at most 10; test.start was not delivered to device press-1`

		for range 2 { // the second time, the front end knows the device's session
			fe.send(`{"type":"test.start","id":"1","dst":"press-1","payload":{"speed":11}}`)
			synctest.Wait()
			if got := fe.take()[0].errorIn(t, protocol.ErrBadMessage); got != problem {
				t.Error(got)
			}
		}
		// A message without an id is checked, too.
		fe.send(`{"type":"test.start","dst":"press-1","payload":{"speed":"a"}}`)
		fe.send(`{"type":"test.start","dst":"press-1"}`)
		synctest.Wait()
		for _, m := range fe.take() {
			m.errorIn(t, protocol.ErrBadMessage)
		}
		_, err := g.r.Command(t.Context(), "press-1", protocol.Message{Type: "test.start", Payload: json.RawMessage(`{"speed":11}`)})
		if codeOf(t, err) != protocol.ErrBadMessage || !strings.Contains(err.Error(), problem) {
			t.Error(err)
		}
		if err := g.r.routeExternal([]byte(`{"type":"test.start","dst":"press-1","payload":{"speed":11}}`)); err == nil || err.Message != problem {
			t.Error(err)
		}
		if got := press.take(); got != nil {
			t.Errorf("the device got %v", got)
		}
		if n := g.r.remotePending.count() + press.sess.Attachment().(*deviceConn).pending.count(); n != 0 {
			t.Errorf("%d commands wait", n)
		}

		for _, good := range []string{`"test.start","payload":{"speed":10}`, `"test.stop","payload":[5]`, `"test.other","payload":7`, `"test.stop"`} {
			fe.send(`{"type":` + good + `,"id":"2","dst":"press-1"}`)
			synctest.Wait()
			got := press.take()
			if len(got) != 1 {
				t.Fatalf("%s: the device got %v, the front end %v", good, got, fe.take())
			}
			press.send(`{"type":"done","re":"2"}`)
			synctest.Wait()
			fe.take()
		}
	})
}

// A file describes a device that says nothing; what the device says wins.
func TestDescriptionFiles(t *testing.T) {
	files := map[string]*describe.Described{}
	parsed := func(t *testing.T, text string) *describe.Described {
		d, err := describe.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	inBubble(t, func(t *testing.T, g *gateway) {
		byType, byID := parsed(t, `{"title":"type"}`), parsed(t, `{"title":"id"}`)
		files["tester"] = byType
		press, fe := g.connect(session.Info{Role: session.RoleDevice, Name: "press-1", Type: "tester"}), g.frontend("ada")
		version := func() string { _, v, _ := g.r.Description(t.Context(), "press-1"); return v }
		if version() != byType.Version {
			t.Error(version())
		}
		g.quiet()
		files["press-1"] = byID
		g.r.DescriptionFilesChanged()
		g.only(`{"type":"gateway.device_described","payload":{"device_id":"press-1","version":"`+byID.Version+`"}}`, fe)
		press.describeAs(pressDescription)
		g.quiet()
		delete(files, "press-1")
		g.r.DescriptionFilesChanged()
		g.only("") // the device's own is in force
		press.describeAs("null")
		if version() != byType.Version {
			t.Error(version())
		}
		g.quiet()
		delete(files, "tester")
		press.hangUp()
		g.quiet()
		g.r.DescriptionFilesChanged()
		g.only("")
		if version() != "" {
			t.Error("the description of an offline device is still there without its file")
		}
	}, func(o *Options, _ *session.Options) {
		o.Described = func(device, typ string) *describe.Described {
			if d := files[device]; d != nil {
				return d
			}
			return files[typ]
		}
	})
}
