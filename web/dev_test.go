package web_test

import (
	"encoding/base64"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

func TestDev(t *testing.T) {
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "tensile-1", url.Values{"type": {"tensile"}, "customer": {"ACME Steel"}, "meta.location": {"hall 2"}, "meta.channels": {"Force N,Extension mm,Temperature °C"}}, func(d *device, m protocol.Message) {
		switch m.Type {
		case "test.start":
			d.reply(m, `{"ok":true,"state":"running","sample":1234,"peak_force_n":0}`)
			d.sendState("running")
		case "test.reset":
			d.reply(m, `{"ok":false,"error":"cannot reset while running: stop the test first"}`)
		}
	})
	d.stream()
	x := connectDevice(t, s.Addr(), "tensile-2", url.Values{"type": {"tensile"}, "meta.location": {"hall 3"}}, nil)
	connectDevice(t, s.Addr(), "climate-chamber-17", url.Values{"type": {"climate"}, "meta.location": {"hall 1"}}, nil)
	p := openTab(t, "http://"+s.Addr()+"/#device=tensile-1")
	p.waitText("#panel-status", "online")
	shot := func(name string, w, h int, dark bool, mobile bool) {
		scheme := "light"
		if dark {
			scheme = "dark"
		}
		p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": w, "height": h, "deviceScaleFactor": 1, "mobile": mobile}, nil)
		time.Sleep(700 * time.Millisecond)
		var out struct{ Data string }
		p.call("Page.captureScreenshot", map[string]any{"format": "png"}, &out)
		b, _ := base64.StdEncoding.DecodeString(out.Data)
		_ = os.WriteFile("/tmp/shot-"+name+".png", b, 0o644)
	}
	p.click("#start")
	x.die()
	time.Sleep(4 * time.Second)
	d.skip(3000)
	time.Sleep(1 * time.Second)
	frontendSession(t, s).ReportLoss(1, 1000, 1500, "slow_consumer")
	time.Sleep(2 * time.Second)
	shot("light", 1280, 1000, false, false)
	p.click("#reset")
	shot("dark", 1280, 1000, true, false)
	shot("phone", 375, 800, false, true)
	p.eval("window.scrollTo(0, 700)", nil)
	shot("phone2", 375, 800, true, true)
	p.eval("document.getElementById('access').open=true;window.scrollTo(0, 0)", nil)
	shot("phone3", 375, 800, true, true)
	p.checkClean("http://" + s.Addr())
}
