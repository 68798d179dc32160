package web_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/labgate/labgate/protocol"
)

// TestLayout checks the page in both colour schemes, from the width of a phone
// to that of a large screen: no element exceeds the width, every control has a
// name, all text has enough contrast.
func TestLayout(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	long := "a-device-with-a-very-long-name-that-does-not-break-anywhere-0123456789"
	d := connectDevice(t, s.Addr(), long, url.Values{"type": {"tensile"}, "meta.location": {"hall 2"}, "meta.note": {long + long}},
		func(d *device, m protocol.Message) { d.reply(m, `{"ok":false,"error":"`+long+long+`"}`) })
	connectDevice(t, s.Addr(), "gone", nil, nil).die()
	p := openPage(t, s.Addr(), long)
	stop := d.stream()
	p.wait(`Number(document.querySelector("#received").value) >= 1000`)
	d.skip(100)
	d.sendState("running")
	p.waitText("#panel-state", "running")
	p.click("#start")
	p.waitText("#answer", long)
	p.wait(`document.querySelector("#missing").value === "100"`)
	stop()
	p.eval(`document.querySelector("#access").open = true`, nil)

	for _, scheme := range []string{"light", "dark"} {
		p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		for _, width := range []int{320, 375, 768, 1280, 2560} {
			p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
			p.wait(fmt.Sprintf("matchMedia('(width: %dpx)').matches", width))
			var outside []string
			p.eval(fmt.Sprintf(outsideScript, width), &outside)
			for _, what := range outside {
				t.Errorf("%s, %d pixels wide: it sticks out: %s", scheme, width, what)
			}
		}
		var faint []string
		p.eval(contrastScript, &faint)
		for _, f := range faint {
			t.Errorf("%s: too little contrast: %s", scheme, f)
		}
	}

	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	p.call("Accessibility.getFullAXTree", map[string]any{}, &tree)
	named := 0
	for _, node := range tree.Nodes {
		switch node.Role.Value {
		case "button", "textbox", "spinbutton", "searchbox", "image", "list", "heading", "group", "region":
			if node.Ignored {
				continue
			}
			named++
			if name, _ := node.Name.Value.(string); name == "" && node.Role.Value != "list" {
				t.Errorf("a %v has no name", node.Role.Value)
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d elements have a role; was the page there?", named)
	}
	p.checkClean("http://" + s.Addr())
}

// outsideScript returns the elements that reach beyond the page's width.
const outsideScript = `[...document.body.querySelectorAll("*")].filter((e) => {
	const r = e.getBoundingClientRect();
	return e.checkVisibility() && (r.right > %d || r.left < 0 || (e.matches("section, header, form") && e.scrollWidth > e.clientWidth));
}).map((e) => e.localName + "#" + e.id + "." + e.className)`

// contrastScript returns the texts whose contrast is below 4.5 to 1 (WCAG 2.2,
// 1.4.3).
const contrastScript = `(() => {
	const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const colour = channels(getComputedStyle(e).backgroundColor);
			if (colour.length === 3 || colour[3] === 1) return colour;
		}
		return [255, 255, 255];
	};
	const faint = new Set();
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || !e.checkVisibility()) continue;
		const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(behind(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) faint.add(ratio.toFixed(2) + " " + texts.currentNode.data.trim().slice(0, 40));
	}
	return [...faint];
})()`
