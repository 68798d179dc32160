package web_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/labgate/labgate/protocol"
)

const (
	isStale = `document.querySelector("#telemetry").dataset.stale === "true" && getComputedStyle(document.querySelector("#plots canvas")).opacity < 1`
	isLive  = `document.querySelector("#telemetry").dataset.stale === "false" && document.querySelector("#stale-note").hidden`
)

// TestGone: after a device or the connection to the gateway is gone, the old
// data of the device looks outdated.
func TestGone(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	answer := func(d *device, m protocol.Message) {
		if m.Type == "test.start" {
			d.reply(m, `{"ok":false,"error":"the door is open"}`)
		}
	}
	d := connectDevice(t, s.Addr(), "press-1", nil, answer)
	p := openPage(t, s.Addr(), "press-1")
	stop := d.stream()
	p.wait(`Number(document.querySelector("#received").value) >= 1000`)
	p.wait(isLive)
	p.click("#start")
	p.waitText("#answer", "the door is open")
	p.wait(`/^\d\d:\d\d:\d\d$/.test(document.querySelector("#answer time").textContent)`)
	p.wait(`document.querySelector("#answer").dataset.old === "false"`)
	stop()
	d.die()
	p.waitText("#stale-note", "the device went offline at")
	p.wait(isStale)
	p.waitText("#answer", "the door is open; the device went offline at")
	p.wait(`document.querySelector("#answer").dataset.old === "true"`)

	// The gateway's error for a command to the device is new.
	p.click("#reset")
	p.waitText("#answer", "device_offline")
	p.wait(`document.querySelector("#answer").dataset.old === "false"`)

	// The device is online again, and its old curve is still marked as
	// outdated.
	d = connectDevice(t, s.Addr(), "press-1", nil, answer)
	p.waitText("#panel-status", "online")
	p.wait(isStale)
	defer d.stream()()
	p.wait(isLive)
	p.click("#reset") // it does not answer
	d.received("test.reset")
	d.die()
	p.waitText("#answer", "device_disconnected")
	p.waitText("#stale-note", "the device went offline at")
	p.wait(`document.querySelector("#answer").dataset.old === "false"`)
	d = connectDevice(t, s.Addr(), "press-1", nil, answer)
	defer d.stream()()
	p.wait(isLive)

	frontendSession(t, s).Close(protocol.CloseKicked, "by a test")
	p.wait(`/kicked \(4008\).*since \d\d:\d\d:\d\d/.test(document.querySelector("#link-text").textContent)`)
	p.waitText("#stale-note", "the connection to the gateway was lost at")
	p.wait(isStale)
	p.checkClean("http://" + s.Addr())
}

// TestAge: an answer and the last sample show that they are old. The page's
// clock runs eight times as fast.
func TestAge(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "press-1", nil, func(d *device, m protocol.Message) { d.reply(m, `{"ok":false,"error":"no"}`) })
	p := openTabWith(t, "http://"+s.Addr()+"/#device=press-1", fastClock(8))
	p.waitText("#link-text", "Connected")
	p.waitSubscribed("press-1")
	stop := d.stream()
	p.wait(`Number(document.querySelector("#received").value) > 0`)
	stop()
	p.click("#reset")
	p.waitText("#answer", "test.reset: no")
	p.wait(`document.querySelector("#answer").dataset.old === "true"`)
	p.wait(`/arrived \d+ s ago/.test(document.querySelector("#last-sample-note").textContent)`)
	p.eval(`new MutationObserver(() => {
		const { old, kind } = document.querySelector("#answer").dataset;
		window.fresh ||= old === "false" && kind === "error";
	}).observe(document.querySelector("#answer"), { attributes: true })`, nil)
	p.click("#reset")
	p.wait("window.fresh") // the new answer
	p.checkClean("http://" + s.Addr())
}

// TestFilter filters devices by state, and with a text that matches no device.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	p := openTab(t, "http://"+s.Addr()+"/")
	p.waitText("#device-note", "No device has connected yet.")
	for n := range 9 {
		d := connectDevice(t, s.Addr(), fmt.Sprintf("press-%d", n), url.Values{}, nil)
		if n == 4 {
			d.sendState("heating")
		}
	}
	rows := `[...document.querySelectorAll("#device-list li")].map((li) => li.dataset.device).join()`
	p.wait(rows + `.split(",").length === 9`)
	p.wait(`!document.querySelector("#filter").hidden && document.querySelector("#device-note").hidden`)
	search := func(text string) {
		p.eval(fmt.Sprintf(`{ const f = document.querySelector("#filter"); f.value = %q; f.dispatchEvent(new Event("input")); }`, text), nil)
	}
	search("heat")
	p.wait(rows + ` === "press-4"`)
	search("furnace")
	p.waitText("#device-note", "No device matches “furnace”.")
	search("")
	p.wait(rows + `.split(",").length === 9`)
	p.wait(`document.querySelector("#device-note").hidden`)
	p.checkClean("http://" + s.Addr())
}
