package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// TestOtherImplementation talks to the gateway with a WebSocket library that
// shares no code with it.
func TestOtherImplementation(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		dial := func(path string) *websocket.Conn {
			t.Helper()
			ws, _, err := websocket.Dial(ctx, strings.Replace(g.url(path), "http", "ws", 1), &websocket.DialOptions{
				HTTPClient: g.client, Subprotocols: []string{protocol.Subprotocol}, CompressionMode: websocket.CompressionContextTakeover,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ws.CloseNow() })
			ws.SetReadLimit(-1)
			if ws.Subprotocol() != protocol.Subprotocol {
				t.Errorf("sub-protocol %q", ws.Subprotocol())
			}
			return ws
		}
		await := func(ws *websocket.Conn, typ string) protocol.Message {
			t.Helper()
			for {
				kind, b, err := ws.Read(ctx)
				if err != nil {
					t.Fatalf("waiting for %s: %v", typ, err)
				}
				var e protocol.Envelope
				if kind != websocket.MessageText {
					continue
				}
				if err := e.Parse(b); err != nil {
					t.Fatal(err)
				}
				if string(e.Type) == typ {
					return e.Message()
				}
			}
		}
		say := func(ws *websocket.Conn, format string, args ...any) {
			t.Helper()
			if err := ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
				t.Fatal(err)
			}
		}
		dev, fe := dial("/ws/device/d"), dial("/ws/frontend/ann")
		await(dev, protocol.TypeWelcome)
		await(fe, protocol.TypeWelcome)
		for i, size := range []int{0, 1, 125, 126, 65535, 65536, 300 << 10} {
			filler := strings.Repeat("x", size)
			say(fe, `{"type":"a.command","id":"c%d","dst":"d","payload":%q}`, i, filler)
			c := await(dev, "a.command")
			say(dev, `{"type":"an.answer","re":%q,"payload":%s}`, c.ID, c.Payload)
			if a := await(fe, "an.answer"); len(a.Payload) != size+2 {
				t.Errorf("%d bytes came back as %d", size, len(a.Payload)-2)
			}
		}
		if err := dev.Write(ctx, websocket.MessageBinary, telemetry(0, 1000)); err != nil {
			t.Fatal(err)
		}
		if kind, b, err := fe.Read(ctx); err != nil || kind != websocket.MessageBinary || len(b) != 4032 {
			t.Errorf("%v, %d bytes, %v", kind, len(b), err)
		}
		pinged := dial("/ws/frontend?telemetry=none")
		await(pinged, protocol.TypeWelcome)
		pinged.CloseRead(ctx)
		if err := pinged.Ping(ctx); err != nil {
			t.Errorf("ping: %v", err)
		}
		if err := pinged.Close(websocket.StatusGoingAway, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
		if err := dial("/ws/frontend").Close(websocket.StatusNormalClosure, "done"); err != nil {
			t.Errorf("closing: %v", err)
		}
		say(dev, `{"type":"last.word"}`)
		await(fe, "last.word")
		if err := fe.Close(4321, "a code of its own"); err != nil {
			t.Errorf("closing: %v", err)
		}
		if status, _ := g.call(http.MethodDelete, "/v1/sessions/"+g.manager.ByDevice("d").ID().String(), ""); status != 204 {
			t.Error(status)
		}
		for {
			_, _, err := dev.Read(ctx)
			if err == nil {
				continue
			}
			if code := websocket.CloseStatus(err); code != websocket.StatusCode(protocol.CloseKicked) {
				t.Errorf("closed with %v", err)
			}
			break
		}
		g.eventually("nobody is left", func() bool { return g.manager.Len() == 0 })
	})
}
