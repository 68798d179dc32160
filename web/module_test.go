package web_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

// These tests run single modules of the page in the browser, with test data
// that package protocol encodes, so that both agree on the wire format.

// bytesJS is a JavaScript expression for an ArrayBuffer with these bytes.
func bytesJS(b []byte) string {
	return fmt.Sprintf("Uint8Array.from(atob(%q), (c) => c.charCodeAt(0)).buffer", base64.StdEncoding.EncodeToString(b))
}

// module evaluates the body of a function that has imported the module.
func (p *tab) module(name, body string, into any) {
	p.t.Helper()
	p.eval(fmt.Sprintf("(async () => { const m = await import(%q); %s })()", name, body), into)
}

func modulePage(t *testing.T) *tab {
	t.Helper()
	return openTab(t, "http://"+startGateway(t, "127.0.0.1:0", nil).Addr()+"/")
}

func TestParseFrame(t *testing.T) {
	p := modulePage(t)
	for _, c := range []struct {
		name   string
		header protocol.TelemetryHeader
		body   []byte
		values []string // as JavaScript writes them
	}{
		{
			"f32",
			protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Stream: 7, Seq: 100, T0: 1_700_000_000_123_456_789, DT: 100_000, Channels: 3, Count: 2},
			protocol.AppendF32(nil, 1.5, -0.25, math.MaxFloat32, float32(math.Inf(-1)), float32(math.NaN()), 0.1),
			[]string{"1.5", "-0.25", "3.4028234663852886e+38", "-Infinity", "NaN", "0.10000000149011612"},
		},
		{
			"f64",
			protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF64, Stream: math.MaxUint32, Seq: 1<<53 + 1, T0: -1, DT: math.MaxUint32, Channels: 1, Count: 3},
			protocol.AppendF64(nil, math.Pi, -math.MaxFloat64, math.SmallestNonzeroFloat64),
			[]string{"3.141592653589793", "-1.7976931348623157e+308", "5e-324"},
		},
		{
			"i16",
			protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Flags: 255, Seq: math.MaxUint64 - 1, T0: math.MinInt64, Channels: 5, Count: 1},
			protocol.AppendI16(nil, math.MinInt16, -1, 0, 258, math.MaxInt16),
			[]string{"-32768", "-1", "0", "258", "32767"},
		},
		{
			"i32",
			protocol.TelemetryHeader{Kind: protocol.KindBuckets, Format: protocol.FormatI32, T0: math.MaxInt64, DT: 1, Channels: 1, Count: 4},
			protocol.AppendI32(nil, math.MinInt32, -70_000, 16_909_060, math.MaxInt32),
			[]string{"-2147483648", "-70000", "16909060", "2147483647"},
		},
	} {
		frame := append(c.header.Append(nil), c.body...)
		var parsed protocol.TelemetryHeader
		if err := parsed.Parse(frame); err != nil {
			t.Fatalf("%s: the vector is wrong: %v", c.name, err)
		}
		var got struct {
			Kind            uint8
			Format          string
			Stream          uint32
			Seq, T0         string
			DT              uint32
			Channels, Count uint16
			Values          []string
		}
		p.module("/protocol.js", `const f = m.parseFrame(`+bytesJS(frame)+`);
			return { ...f, seq: String(f.seq), t0: String(f.t0), values: Array.from(f.values, String) }`, &got)
		h := c.header
		if got.Kind != h.Kind || got.Format != c.name || got.Stream != h.Stream || got.Seq != strconv.FormatUint(h.Seq, 10) ||
			got.T0 != strconv.FormatInt(h.T0, 10) || got.DT != h.DT || got.Channels != h.Channels || got.Count != h.Count {
			t.Errorf("%s: header %+v, want %+v", c.name, got, h)
		}
		if !reflect.DeepEqual(got.Values, c.values) {
			t.Errorf("%s: values %v, want %v", c.name, got.Values, c.values)
		}
	}
}

// TestParseFrameRefuses gives both parsers frames with one thing wrong.
func TestParseFrameRefuses(t *testing.T) {
	p := modulePage(t)
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Channels: 2, Count: 4}
	good := append(h.Append(nil), make([]byte, h.BodySize())...)
	frames := map[string][]byte{"nothing": {}, "a header cut short": good[:31], "only a header": good[:32], "a byte too few": good[:len(good)-1], "a byte too many": append(good[:len(good):len(good)], 0)}
	for _, c := range []struct {
		name   string
		offset int
		bytes  []byte
	}{
		{"nothing changed", 0, nil},
		{"version 0", 0, []byte{0}}, {"version 2", 0, []byte{2}},
		{"kind 0", 1, []byte{0}}, {"kind 2, a multiple of four", 1, []byte{2}}, {"kind 3", 1, []byte{3}},
		{"format 0", 2, []byte{0}}, {"format 5", 2, []byte{5}}, {"another format", 2, []byte{1}},
		{"the last seq", 8, []byte{251, 255, 255, 255, 255, 255, 255, 255}}, {"a seq too high", 8, []byte{252, 255, 255, 255, 255, 255, 255, 255}},
		{"no channels", 28, []byte{0, 0}}, {"no samples", 30, []byte{0, 0}},
		{"channels and samples exchanged", 28, []byte{4, 0, 2, 0}}, {"an envelope of two", 1, []byte{2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 2, 0}},
	} {
		frame := append([]byte(nil), good...)
		copy(frame[c.offset:], c.bytes)
		frames[c.name] = frame
	}
	for name, frame := range frames {
		var parsed protocol.TelemetryHeader
		want := parsed.Parse(frame) == nil
		var got string
		p.module("/protocol.js", `try { m.parseFrame(`+bytesJS(frame)+`); return "" } catch (e) { return e.message }`, &got)
		if (got == "") != want {
			t.Errorf("%s: the page says %q, the gateway accepts it: %v", name, got, want)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	p := modulePage(t)
	var got map[string]struct {
		Name      string
		Reconnect bool
	}
	p.module("/protocol.js", `return Object.fromEntries([...Array(5000).keys()].slice(1000).map((c) => [c, m.closeCode(c)]))`, &got)
	for code := protocol.CloseCode(1000); code < 5000; code++ {
		if of := got[strconv.Itoa(int(code))]; of.Name != code.Name() || of.Reconnect != code.Reconnect() {
			t.Errorf("%d: the page has %+v, the protocol %s, reconnect %v", code, of, code.Name(), code.Reconnect())
		}
	}
}

func TestValidToken(t *testing.T) {
	p := modulePage(t)
	for token, want := range map[string]bool{
		"abcDEF019._~-": true, strings.Repeat("x", 4096): true, strings.Repeat("x", 4097): false,
		"": false, "a b": false, "a,b": false, "a+b": false, "a/b": false, "a\n": false, "é": false,
	} {
		var got bool
		p.module("/protocol.js", fmt.Sprintf("return m.validToken(%q)", token), &got)
		if got != want {
			t.Errorf("%q: %v, want %v", token, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	p := modulePage(t)
	for _, c := range []struct {
		call string
		want float64
	}{
		{"0, 0, 0", 0},
		{"0, 0, 0.5", 250},
		{"1, 0, 0.5", 500},
		{"5, 0, 0.5", 8000},
		{"6, 0, 0.5", 10_000},
		{"1e6, 0, 0.5", 10_000},
		{"0, 2000, 0", 2000},
		{"0, 2000, 0.5", 2250},
		{"0, 1e12, 0", 300_000},
		{"0, -5, 0", 0},
		{"0, NaN, 0", 0},
		{"0, 0, 1, true", 500},
		{"9, 0, 1, true", 1500},
		{"9, 4000, 1, true", 5500},
	} {
		var got float64
		p.module("/link.js", "return m.pauseBefore("+c.call+")", &got)
		if got != c.want {
			t.Errorf("pauseBefore(%s) is %v ms, want %v", c.call, got, c.want)
		}
	}
}

// account is what a Stream has counted.
type account struct {
	Received, Frames, Missing, Gaps, Reported, Restarts, PassedOver, NotDrawn float64
	End                                                                       float64 // of the ring
}

func TestStreamAccount(t *testing.T) {
	p := modulePage(t)
	for _, c := range []struct {
		name, steps string
		want        account
	}{
		{"in order", "take(0, 10); take(10, 10)", account{Received: 20, Frames: 2, End: 20}},
		{"what was before the first frame is not missing", "take(1000, 10); take(1010, 5)", account{Received: 15, Frames: 2, End: 15}},
		{"a gap", "take(0, 10); take(25, 10)", account{Received: 20, Frames: 2, Missing: 15, Gaps: 1, End: 35}},
		{"two gaps", "take(0, 10); take(11, 10); take(22, 1)", account{Received: 21, Frames: 3, Missing: 2, Gaps: 2, End: 23}},
		{"a gap wider than the window", "take(0, 10); take(1000000, 10)", account{Received: 20, Frames: 2, Missing: 999_990, Gaps: 1, End: 10}},
		{"above 2^53", "take(2n ** 60n, 10); take(2n ** 60n + 11n, 10)", account{Received: 20, Frames: 2, Missing: 1, Gaps: 1, End: 21}},
		{"started over", "take(500, 10); take(0, 10); take(10, 10)", account{Received: 30, Frames: 3, Restarts: 1, End: 20}},
		{"a repeated frame", "take(0, 10); take(0, 10)", account{Received: 20, Frames: 2, Restarts: 1, End: 10}},
		{"envelopes", "take(0, 10); take(90, 4, { kind: 2 }); take(10, 10)", account{Received: 20, Frames: 2, PassedOver: 1, End: 20}},
		{"dt that varies by a few per cent", "for (let n = 0; n < 100; n++) take(10 * n, 10, { dt: 94000 + 12000 * (n % 2) })", account{Received: 1000, Frames: 100, End: 1000}},
		{"dt that drifts far away", "for (let n = 0; n < 3000; n++) take(n, 1, { dt: 100000 + 50 * n })", account{Received: 3000, Frames: 3000, End: 3000}},
		{"another dt", "take(0, 10); now = 1000; take(10, 5, { dt: 200000 })", account{Received: 15, Frames: 2, End: 5}},
		{"other channels", "take(0, 10); now = 1000; take(10, 5, { channels: 2 })", account{Received: 15, Frames: 2, End: 5}},
		{"other channels again within a second", "take(0, 10); now = 999; take(10, 5, { channels: 2 })", account{Received: 15, Frames: 2, NotDrawn: 5, End: 10}},
		{"back to the first channels", "take(0, 10); take(10, 5, { channels: 2 }); take(15, 10)", account{Received: 25, Frames: 3, NotDrawn: 5, End: 25}},
		{"channels beyond those that are shown", "take(0, 10, { channels: 16 }); take(10, 10, { channels: 17 }); take(20, 10, { channels: 16 })", account{Received: 30, Frames: 3, End: 30}},
		{"values that 32 bits hold as well", "take(0, 10); take(10, 10, { format: 'i16' })", account{Received: 20, Frames: 2, End: 20}},
		{"a second of gaps beyond the window", "for (let n = 0; n < 10; n++) take(30000 * n, 10)", account{Received: 100, Frames: 10, Missing: 269_910, Gaps: 9, End: 10}},
		{"as many gaps in as many seconds", "for (let n = 0; n < 10; n++, now += 1000) take(30000 * n, 10)", account{Received: 100, Frames: 10, Missing: 269_910, Gaps: 9, End: 270_010}},
		{"reported", `take(0, 10); s.lost({ from: 10, to: 30, cause: "slow_consumer" }); s.lost({ from: 40, to: 41, cause: "bus" }); take(50, 10)`, account{Received: 20, Frames: 2, Missing: 40, Gaps: 1, Reported: 21, End: 60}},
		{"nonsense reported", `take(0, 10); s.lost({ from: 9, to: 3 }); s.lost({}); s.lost({ from: "x", to: 7 })`, account{Received: 10, Frames: 1, End: 10}},
	} {
		var got account
		p.module("/stream.js", `
			const s = new m.Stream();
			let now = 0; // ms
			const take = (seq, count, more = {}) => {
				const frame = { kind: 1, format: "f32", dt: 100000, channels: 1, t0: 0n, ...more, seq: BigInt(seq), count };
				s.take({ ...frame, values: new Float32Array(count * frame.channels) }, now);
			};
			`+c.steps+`;
			return { received: s.received, frames: s.frames, missing: s.missing, gaps: s.gaps, reported: s.reportedTotal,
				restarts: s.restarts, passedOver: s.passedOver, notDrawn: s.notDrawn, end: s.ring.end }`, &got)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestColumns draws a peak of one sample among a hundred thousand: whatever the
// width of the plot and however the samples come, it is there, and a column's
// extremes are those of its samples.
func TestColumns(t *testing.T) {
	p := modulePage(t)
	var wrong []string
	p.module("/plot.js", `
		const { Ring } = await import("/stream.js");
		const wrong = [];
		for (const width of [16, 333, 1000, 3000]) {
			for (const step of [1, 100, 997]) {
				const ring = new Ring(2, step === 1 ? 5000 : 100000);
				const columns = new m.Columns(width, ring.capacity);
				const total = Math.round(ring.capacity * 1.7), peak = Math.round(ring.capacity * 1.2);
				const at = (n) => (n === peak ? 1e6 : Math.sin(n / 900));
				for (let n = 0; n < total; n += step) {
					ring.push(Float64Array.from({ length: 2 * step }, (_, i) => (i % 2 ? at(n + (i - 1) / 2) : 0)), step, 2);
					if (n % 7 === 0) columns.update(ring, 1);
				}
				columns.update(ring, 1);
				const name = width + " columns, frames of " + step;
				if (columns.range().max !== 1e6) wrong.push(name + ": the peak is gone");
				if ((columns.last - columns.first + 1) * columns.per < ring.capacity) wrong.push(name + ": they do not cover the window");
				for (let k = columns.first + 1; k <= columns.last; k++) {
					let min = Infinity, max = -Infinity;
					for (let n = Math.ceil(k * columns.per); n < Math.min(Math.ceil((k + 1) * columns.per), ring.end); n++) {
						min = Math.min(min, at(n));
						max = Math.max(max, at(n));
					}
					if (columns.min[k % width] !== min || columns.max[k % width] !== max) wrong.push(name + ": column " + k);
				}
				if (columns.last - columns.first + 1 > width) wrong.push(name + ": too many columns");
			}
		}
		// Missing samples and values that are no numbers leave columns empty.
		const ring = new Ring(1, 100);
		ring.push([1, 2, NaN, Infinity, -Infinity], 5, 1);
		ring.skip(3);
		ring.push([5], 1, 1);
		const columns = new m.Columns(100, 100);
		columns.update(ring, 0);
		const empty = [...Array(9).keys()].filter((k) => columns.min[k] > columns.max[k]);
		if (String(empty) !== "2,3,4,5,6,7") wrong.push("empty columns are " + empty);
		if (JSON.stringify(ring.gaps) !== "[[5,8]]") wrong.push("gaps are " + JSON.stringify(ring.gaps));
		return wrong.slice(0, 10)`, &wrong)
	for _, w := range wrong {
		t.Error(w)
	}
}

func TestScaleAndLabels(t *testing.T) {
	p := modulePage(t)
	for expression, want := range map[string]string{
		`m.scaleFor(0, 100)`:    `{"low":-8,"high":108,"step":50}`,
		`m.scaleFor(5, 5).step`: `0.02`,
		`m.scaleFor(0, 0)`:      `{"low":-1,"high":1,"step":0.5}`,
		`m.scaleFor(10, 90, { low: 0, high: 100, step: 20 }).low`:                          `0`,
		`m.scaleFor(10, 101, { low: 0, high: 100, step: 20 }).high > 101`:                  `true`,
		`m.scaleFor(40, 41, { low: 0, high: 100, step: 20 }).high < 42`:                    `true`,
		`m.tickLabel(25000, 5000)`:                                                         `"25\u202f000"`,
		`m.tickLabel(-0.25, 0.05)`:                                                         `"` + "\u2212" + `0.25"`,
		`m.tickLabel(-0.001, 1)`:                                                           `"0"`,
		`m.tickLabel(0, 1e-9)`:                                                             `"0"`,
		`m.tickLabel(2e9, 1e9)`:                                                            `"2.00e+9"`,
		`(() => { const s = m.scaleFor(1e15, 1e15 + 1); return s.high - s.low < 1e14 })()`: `true`,
	} {
		var got json.RawMessage
		p.module("/plot.js", "return "+expression, &got)
		if normal, _ := strconv.Unquote(string(got)); string(got) != want && strconv.Quote(normal) != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

func TestRateMeter(t *testing.T) {
	p := modulePage(t)
	var got []float64
	p.module("/stream.js", `
		const r = new m.RateMeter(), rates = [r.perSecond(0)];
		let now = 1e6;
		for (let i = 0; i < 500; i++) r.add(100, now += 10);
		rates.push(r.perSecond(now), r.perSecond(now + 10000));
		r.add(100, now + 20000);
		rates.push(r.perSecond(now + 20000));
		return rates`, &got)
	if want := []float64{0, 10_000, 0, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("rates %v, want %v", got, want)
	}
}

// TestPacer has drawings of several lengths on displays of several rates: at
// most thirty are made in a second, and half of the time is left for the rest.
func TestPacer(t *testing.T) {
	p := modulePage(t)
	for _, c := range []struct {
		hertz, drawing  float64 // ms that one drawing takes
		atLeast, atMost float64 // drawings in ten seconds
	}{
		{60, 1, 290, 300}, {60, 15, 290, 300}, {144, 5, 270, 300}, {60, 100, 40, 50}, {60, 300, 15, 17}, {10, 1, 49, 51},
	} {
		var drawings float64
		p.module("/pacer.js", fmt.Sprintf(`
			const pacer = new m.Pacer(), tick = 1000 / %v, drawing = %v;
			let drawings = 0;
			for (let now = 0; now < 10000; ) {
				const drew = pacer.drawNow(now);
				drawings += drew;
				now = (Math.floor((now + (drew ? drawing : 0)) / tick + 1e-6) + 1) * tick;
			}
			return drawings`, c.hertz, c.drawing), &drawings)
		if drawings < c.atLeast || drawings > c.atMost {
			t.Errorf("%v Hz, %v ms each: %v drawings in ten seconds, want %v to %v", c.hertz, c.drawing, drawings, c.atLeast, c.atMost)
		}
	}
}
