package web_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// canvasScript counts what is drawn on each canvas: how often it was begun
// anew, and since then the rectangles, the lines and the texts.
const canvasScript = `{
	const draw = CanvasRenderingContext2D.prototype;
	const of = (context) => (context.canvas.counts ??= { drawings: 0, rectangles: 0, lines: 0, texts: [] });
	const wrap = (name, note) => {
		const original = draw[name];
		draw[name] = function (...args) {
			note(of(this), ...args);
			return original.apply(this, args);
		};
	};
	wrap("clearRect", (c) => Object.assign(c, { drawings: c.drawings + 1, rectangles: 0, lines: 0, texts: [] }));
	wrap("fillRect", (c) => c.rectangles++);
	wrap("lineTo", (c) => c.lines++);
	wrap("fillText", (c, text) => c.texts.push(text));
}`

// openPlots opens the page for a device, with its drawings counted.
func openPlots(t *testing.T, addr, device string) *tab {
	t.Helper()
	p := openTabWith(t, "http://"+addr+"/#device="+device, canvasScript)
	p.waitText("#link-text", "Connected")
	p.waitSubscribed(device)
	return p
}

// sendSamples sends samples up to a number, many in a frame. value is asked
// for each channel of each sample.
func (d *device) sendSamples(until uint64, h protocol.TelemetryHeader, value func(n uint64, channel int) float32) {
	d.t.Helper()
	for d.seq < until {
		h.Kind, h.Format, h.Seq, h.Count = protocol.KindSamples, protocol.FormatF32, d.seq, uint16(min(until-d.seq, 500))
		frame := h.Append(nil)
		for ; d.seq < h.End(); d.seq++ {
			for c := range int(h.Channels) {
				frame = protocol.AppendF32(frame, value(d.seq, c))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := d.conn.Write(ctx, websocket.MessageBinary, frame)
		cancel()
		if err != nil {
			d.t.Fatal(err)
		}
		// The page is slower than this loop; samples that the page has received
		// cannot be lost.
		if d.seq%20_000 == 0 {
			d.page.waitReceived(d.seq)
		}
	}
	d.page.waitReceived(until)
}

// waitReceived waits until the page has received this many samples.
func (p *tab) waitReceived(samples uint64) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`Number(document.querySelector("#received").value) === %d`, samples))
}

func noise(n uint64, channel int) float32 {
	return float32((n*2654435761+uint64(channel)*40503)%1000) / 1000
}

// TestNoiseIsFilled: columns of full height are rectangles. As one stroke they
// take a browser without a graphics processor a hundred times as long.
func TestNoiseIsFilled(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "noisy", nil, nil)
	p := openPlots(t, s.Addr(), "noisy")
	d.page = p
	d.sendSamples(101_000, protocol.TelemetryHeader{DT: 100_000, Channels: 8}, noise)
	const first = `document.querySelector("#plots canvas")`
	p.wait(first + `.counts.rectangles >= ` + first + `.clientWidth - 80`)
	var drawn struct{ Rectangles, Lines, Width int }
	p.eval(`{ const c = `+first+`; ({ ...c.counts, width: c.clientWidth }) }`, &drawn)
	if drawn.Lines > 40 || drawn.Rectangles > drawn.Width {
		t.Errorf("%+v: want a rectangle for each column, and lines for the axes alone", drawn)
	}
	p.checkClean("http://" + s.Addr())
}

// TestPlotsOutOfViewAreNotDrawn scrolls along sixteen plots.
func TestPlotsOutOfViewAreNotDrawn(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	d := connectDevice(t, s.Addr(), "many", nil, nil)
	p := openPlots(t, s.Addr(), "many")
	d.page = p
	send := func() {
		d.sendSamples(d.seq+100, protocol.TelemetryHeader{DT: 1_000_000, Channels: 16}, func(_ uint64, channel int) float32 { return float32(channel + 1) })
	}
	drawings := func() (counts []int) {
		p.eval(`[...document.querySelectorAll("#plots canvas")].map((c) => c.counts?.drawings ?? 0)`, &counts)
		return counts
	}
	// await sends until a plot was drawn some more times.
	await := func(plot, times int) {
		for want := times + append(drawings(), make([]int, 16)...)[plot]; times > 0; times-- {
			send()
			p.wait(fmt.Sprintf(`(document.querySelectorAll("#plots canvas")[%d]?.counts?.drawings ?? 0) >= %d`, plot, want-times+1))
		}
	}
	await(0, 5)
	for plot, n := range drawings() {
		if plot >= 8 && n > 0 {
			t.Errorf("plot %d is far below the window and was drawn %d times", plot+1, n)
		}
	}
	// The numbers of the stream are still correct.
	p.waitText("#plots figure:nth-child(16) .max .value", "16")

	p.eval(`scrollTo(0, document.querySelector("#plots").getBoundingClientRect().bottom)`, nil)
	p.wait(`document.querySelectorAll("#plots canvas")[15].counts?.drawings > 0`)
	before := drawings()
	await(15, 5)
	if after := drawings(); after[0] != before[0] {
		t.Errorf("the first plot is out of view and was drawn %d times", after[0]-before[0])
	}
	p.checkClean("http://" + s.Addr())
}

// TestTimeAxis: the newest seconds fill the plot from edge to edge and the
// axis says how many they are, whatever the rate and the width.
func TestTimeAxis(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	for _, c := range []struct {
		name    string
		dt      uint32
		samples uint64
		window  float64 // seconds; samples when dt is 0
		span    float64 // the same in samples
		kept    float64 // samples of it that came
	}{
		{"1 Hz", 1_000_000_000, 40, 16, 16, 16},
		{"100 Hz", 10_000_000, 1500, 10, 1000, 1000},
		{"150 Hz", 6_666_667, 2000, 10, 1500, 1500},
		{"10 kHz", 100_000, 101_000, 10, 100_000, 100_000},
		{"without dt", 0, 101_000, 100_000, 100_000, 100_000},
		{"without dt, few", 0, 40, 64, 64, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := connectDevice(t, s.Addr(), fmt.Sprintf("axis-%d-%d", c.dt, c.samples), nil, nil)
			p := openPlots(t, s.Addr(), d.id)
			d.page = p
			d.sendSamples(c.samples, protocol.TelemetryHeader{DT: c.dt, Channels: 1}, func(n uint64, _ int) float32 { return float32(math.Sin(float64(n))) })
			for _, width := range []int{390, 1280, 1900} {
				p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false}, nil)
				p.wait(fmt.Sprintf(`(() => { const c = document.querySelector("canvas"); return innerWidth === %d && c.counts?.drawings > 0 && c.width === c.clientWidth })()`, width))
				var seen struct {
					Left, Right, Width float64
					Oldest             float64
				}
				p.eval(traceScript, &seen)
				area := seen.Width - 74 // between the axis and the margin
				if gap := seen.Left - 64; gap > 3+area/c.span+area*(1-c.kept/c.span) {
					t.Errorf("%d wide: the curve begins %v pixels from the left edge, of %v", width, gap, area)
				}
				if gap := seen.Width - 10 - seen.Right; gap > 3 {
					t.Errorf("%d wide: the curve ends %v pixels from the right edge", width, gap)
				}
				if seen.Oldest > c.window || seen.Oldest < c.window/2 {
					t.Errorf("%d wide: the axis reaches back %v, the curve %v", width, seen.Oldest, c.window)
				}
			}
			p.checkClean("http://" + s.Addr())
		})
	}
}

// traceScript finds the leftmost and the rightmost pixel of the first plot's
// curve and the greatest label of its time axis.
const traceScript = `(() => {
	const canvas = document.querySelector("#plots canvas");
	const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
	copy.drawImage(canvas, 0, 0);
	const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
	const trace = [11, 92, 173]; // --trace of the light scheme
	const xs = [];
	for (let i = 0; i < pixels.length; i += 4) if (trace.every((v, c) => Math.abs(pixels[i + c] - v) < 12)) xs.push((i / 4) % canvas.width);
	const at = canvas.counts.texts.indexOf("latest");
	const time = canvas.counts.texts.slice(at + 1).map((t) => t.match(/^\u2212([\d\u202f.]+)( s)?$/)).filter(Boolean);
	return { left: xs.reduce((a, b) => Math.min(a, b), Infinity), right: xs.reduce((a, b) => Math.max(a, b), 0), width: canvas.width,
		oldest: Math.max(...time.map((m) => parseFloat(m[1].replaceAll("\u202f", "")))) };
})()`
