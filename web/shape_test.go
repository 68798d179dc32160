package web_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// allocationScript counts the arrays that can hold the longest window there is.
const allocationScript = `
	window.windows = 0;
	for (const name of ["Float32Array", "Float64Array"]) {
		window[name] = new Proxy(window[name], { construct(array, args) {
			if (args[0] >= 1 << 19) {
				window.firstWindow ??= performance.now();
				window.windows++;
			}
			return new array(...args);
		} });
	}`

// TestChangingShape has a device send frames that alternate between two
// numbers of channels at a rate whose window takes tens of megabytes: the page
// makes at most one ring a second, counts every sample, and Stop works.
func TestChangingShape(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	for _, c := range []struct {
		name  string
		pair  [2]uint16
		rings float64 // beside one for each second; -1 for one in all
		note  string
	}{
		{"beyond-those-shown", [2]uint16{16, 17}, -1, "of 17 channels"},
		{"shown", [2]uint16{15, 16}, 1, "received but not drawn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := connectDevice(t, s.Addr(), c.name, url.Values{}, func(d *device, m protocol.Message) { d.reply(m, `{"ok":true}`) })
			p := openTabWith(t, "http://"+s.Addr()+"/#device="+c.name, allocationScript)
			p.waitText("#link-text", "Connected")
			p.waitSubscribed(c.name)
			const frames = 400
			for n := range uint64(frames) {
				h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI32, Seq: n, DT: 1000, Channels: c.pair[n%2], Count: 1}
				frame := protocol.AppendI32(h.Append(nil), make([]int32, h.Channels)...)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				err := d.conn.Write(ctx, websocket.MessageBinary, frame)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
			}
			p.click("#stop")
			d.received("test.stop")
			p.waitText("#answer", "test.stop: ok")
			p.waitReceived(frames)
			p.waitText("#stream-note", c.note)
			var made struct{ Windows, Seconds float64 }
			p.eval(`({ windows: window.windows, seconds: (performance.now() - window.firstWindow) / 1000 })`, &made)
			most := 16 * (made.Seconds + c.rings)
			if c.rings < 0 {
				most = 16
			}
			if made.Windows > most || made.Windows < 15 {
				t.Errorf("%v arrays in %v s, want one ring for each second at most: %v", made.Windows, made.Seconds, most)
			}
			if missing := p.number("#missing"); missing != 0 {
				t.Errorf("%v samples are called missing that came", missing)
			}
			p.checkClean("http://" + s.Addr())
		})
	}
}
