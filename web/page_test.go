package web_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// openPage opens the page for a device and waits until its telemetry is
// subscribed.
func openPage(t *testing.T, addr, device string) *tab {
	t.Helper()
	p := openTab(t, "http://"+addr+"/#device="+device)
	p.waitText("#link-text", "Connected")
	p.waitSubscribed(device)
	return p
}

// waitSubscribed waits until the gateway has said that the device's telemetry,
// and no other's, is subscribed.
func (p *tab) waitSubscribed(device string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`[...document.querySelectorAll("#log li")].filter((li) => li.textContent.includes("gateway.subscribed")).at(-1)
		?.textContent.includes(%q)`, `{"devices":["`+device+`"]}`))
}

// TestPage is an operator's session: a device appears, its telemetry is drawn
// and counted, commands reach it and are answered, it goes.
func TestPage(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	p := openTab(t, "http://"+s.Addr()+"/")
	p.waitText("#device-note", "No device")

	d := connectDevice(t, s.Addr(), "tensile-1", url.Values{"type": {"tensile"}, "meta.location": {"hall 2"}, "meta.channels": {"Force N,Extension mm"}},
		func(d *device, m protocol.Message) {
			switch m.Type {
			case "test.start":
				d.reply(m, `{"ok":true,"peak_force_n":12.5}`)
				d.sendState("running")
			case "test.stop":
				d.sendState("stopped")
				d.reply(m, `{"ok":true}`)
			case "test.reset":
				d.reply(m, `{"ok":false,"error":"cannot reset while running: stop the test first"}`)
			}
		})
	p.waitText(`[data-device="tensile-1"] .presence`, "online")
	p.waitText(`[data-device="tensile-1"] .kind`, "tensile · bench-7")
	p.waitText(`[data-device="tensile-1"] .meta`, "location hall 2")
	p.waitText("#panel-title", "tensile-1")
	p.waitText("#panel-state", "unknown")
	p.waitSubscribed("tensile-1")

	// Telemetry.
	stop := d.stream()
	p.wait(`Number(document.querySelector("#received").value) >= 20000`)
	stop()
	p.wait(fmt.Sprintf(`Number(document.querySelector("#received").value) === %d`, d.sent()))
	if missing, reported := p.number("#missing"), p.number("#reported"); missing != 0 || reported != 0 {
		t.Errorf("%v samples missing and %v reported lost, of a stream without gaps", missing, reported)
	}
	if got := p.text("#nominal"); got != "nominal 10\u202f000 /s" {
		t.Errorf("the nominal rate is shown as %q", got)
	}
	var plots []struct {
		Title, Max string
		Drawn      bool
	}
	p.eval(`[...document.querySelectorAll("#plots figure")].map((f) => {
		const canvas = f.querySelector("canvas");
		const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
		const trace = [11, 92, 173]; // --trace of the light scheme
		let found = 0;
		for (let i = 0; i < pixels.length; i += 4) found += trace.every((v, c) => Math.abs(pixels[i + c] - v) < 12) ? 1 : 0;
		return { title: f.querySelector(".title").textContent, max: f.querySelector(".max .value").textContent, drawn: found > 100 };
	})`, &plots)
	if len(plots) != channels {
		t.Fatalf("%d plots, want %d", len(plots), channels)
	}
	for i, title := range []string{"Force N", "Extension mm", "Channel 3"} {
		if plots[i].Title != title || !plots[i].Drawn {
			t.Errorf("plot %d is %+v, want title %q and a trace", i+1, plots[i], title)
		}
	}
	if plots[0].Max != "30\u202f000" {
		t.Errorf("the greatest force is %q: the peak of four samples is gone", plots[0].Max)
	}

	// Commands, by mouse and by keyboard.
	p.eval(`document.querySelector("#speed").value = "12.5"`, nil)
	p.click("#start")
	start := d.received("test.start")
	if string(start.Payload) != `{"speed_mm_min":12.5}` || start.ID == "" || start.Urgent || start.Src == "" {
		t.Errorf("Start sent %+v with %s", start, start.Payload)
	}
	p.waitText("#answer", "test.start: ok, peak_force_n: 12.5")
	p.waitText("#panel-state", "running")
	p.waitText(`[data-device="tensile-1"] .state`, "running")
	p.eval(`document.querySelector("#start").focus()`, nil)
	p.press("Tab")
	p.press("Enter")
	if stopped := d.received("test.stop"); !stopped.Urgent || stopped.ID == "" || stopped.ID == start.ID {
		t.Errorf("Stop sent %+v, want it urgent with an id of its own", stopped)
	}
	p.waitText("#answer", "test.stop: ok")
	p.waitText("#panel-state", "stopped")
	p.click("#reset")
	d.received("test.reset")
	p.waitText("#answer", "test.reset: cannot reset while running: stop the test first")
	p.eval(`document.querySelector("#speed").value = "5000"`, nil)
	p.click("#start") // refused by the field

	// The device goes.
	d.die()
	p.waitText(`[data-device="tensile-1"] .presence`, "offline")
	p.waitText("#panel-status", "offline")
	p.waitText("#panel-state", "unknown")
	p.click("#stop")
	p.waitText("#answer", "device_offline")
	if len(d.commands) > 0 {
		t.Errorf("the device received %+v, which nobody meant to send", <-d.commands)
	}
	p.checkClean("http://" + s.Addr())
}

// TestLosses compares what the page says about losses with what was lost.
func TestLosses(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "lossy", nil, nil)
	p := openPage(t, s.Addr(), "lossy")
	stop := d.stream()
	p.wait(`Number(document.querySelector("#received").value) >= 1000`)
	d.skip(250)
	p.wait(`document.querySelector("#missing").value === "250"`)
	d.skip(3)
	p.wait(`document.querySelector("#missing").value === "253"`)
	stop()
	p.waitText("#gaps", "2 gaps")
	p.wait(fmt.Sprintf(`Number(document.querySelector("#received").value) === %d`, d.sent()-253))

	stream := d.stream()
	front := frontendSession(t, s)
	front.ReportLoss(1, 100, 140, 40, session.LossSlowConsumer)
	front.ReportLoss(1, 200, 202, 2, session.LossBus)
	front.ReportLoss(99, 0, 1000, 1000, session.LossBus) // another device's
	p.waitText("#causes", "slow consumer 40, bus 2")
	stream()
	if reported := p.number("#reported"); reported != 42 {
		t.Errorf("%v samples reported lost, want 42", reported)
	}
	p.checkClean("http://" + s.Addr())
}

// TestForeignText has a device try to put markup and script into the page by
// every way that its words come in.
func TestForeignText(t *testing.T) {
	t.Parallel()
	const attack = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
	quoted := strconv.Quote(attack) // not json.Marshal, which hides the brackets
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "evil", url.Values{"type": {attack}, "customer": {attack}, "meta.note": {attack}, "meta.channels": {attack}},
		func(d *device, m protocol.Message) {
			if m.Type == "test.start" {
				d.reply(m, `{"ok":false,"error":`+quoted+`}`)
			} else {
				d.reply(m, `{`+quoted+`:`+quoted+`}`)
			}
		})
	p := openPage(t, s.Addr(), "evil")
	defer d.stream()()
	d.sendState(attack)
	d.send(protocol.Message{Type: "test.note", Payload: json.RawMessage(quoted)})
	p.waitText(`[data-device="evil"] .kind`, attack)
	p.waitText(`[data-device="evil"] .meta`, "note "+attack)
	p.waitText("#panel-facts", attack)
	p.waitText("#panel-state", attack[:64])
	p.waitText("#plots .title", attack)
	p.wait(fmt.Sprintf(`[...document.querySelectorAll("#log .text")].some((e) => e.textContent === %q)`, quoted))
	p.click("#start")
	p.waitText("#answer", "test.start: "+attack)
	p.click("#reset")
	p.waitText("#answer", attack+": "+attack)
	var inside int
	p.eval(`window.hacked ?? document.querySelectorAll("img, body script").length`, &inside)
	if inside != 0 {
		t.Error("what the device wrote became markup, or ran")
	}
	p.checkClean("http://" + s.Addr())
}

// TestSelection switches between devices: only the one that is looked at is
// subscribed, and each has an account of its own.
func TestSelection(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	for _, id := range []string{"one", "two"} {
		d := connectDevice(t, s.Addr(), id, nil, func(d *device, m protocol.Message) { d.reply(m, `"from `+d.id+`"`) })
		defer d.stream()()
	}
	p := openPage(t, s.Addr(), "two")
	p.wait(`Number(document.querySelector("#received").value) > 0`)
	p.click(`[data-device="one"] button`)
	p.waitText("#panel-title", "one")
	p.waitSubscribed("one")
	p.wait(`Number(document.querySelector("#received").value) > 0`)
	if missing := p.number("#missing"); missing != 0 {
		t.Errorf("%v samples missing after the change of device", missing)
	}
	p.click("#reset")
	p.waitText("#answer", "from one")
	var hash string
	p.eval("location.hash", &hash)
	if hash != "#device=one" {
		t.Errorf("the address ends with %q, want the selected device", hash)
	}
	p.checkClean("http://" + s.Addr())
}

// TestLogIsBounded floods the page with messages.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "chatty", nil, nil)
	p := openPage(t, s.Addr(), "chatty")
	long, _ := json.Marshal(strings.Repeat("x", 5000))
	for n := range 1000 {
		d.send(protocol.Message{Type: "test.note", Payload: json.RawMessage(fmt.Sprint(n))})
	}
	d.send(protocol.Message{Type: "test.note", Payload: long})
	d.send(protocol.Message{Type: "test.last", Payload: json.RawMessage(`"the end"`)})
	p.waitText("#log li:last-child", "test.last")
	var log struct {
		Entries, Longest int
		AtEnd            bool
	}
	p.eval(`(() => {
		const log = document.querySelector("#log");
		return { entries: log.children.length, longest: Math.max(...[...log.children].map((li) => li.textContent.length)),
			atEnd: log.scrollTop + log.clientHeight >= log.scrollHeight - 8 };
	})()`, &log)
	if log.Entries != 200 || log.Longest > 2200 || !log.AtEnd {
		t.Errorf("the log is %+v, want the last 200 entries, cut where they are long, and the newest in view", log)
	}
	p.checkClean("http://" + s.Addr())
}
