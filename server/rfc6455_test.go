package server

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const testKey = 0x37fa213d

// masked is a masked frame with any first byte.
func masked(b0 byte, payload string) []byte {
	b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, testKey, []byte(payload))
	b[0] = b0
	return b
}

// withLength is the head of a masked frame that announces n bytes in a 64-bit
// length.
func withLength(b0 byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{b0, 0x80 | 127}, n), 1, 2, 3, 4)
}

// TestProtocolErrors breaks RFC 6455 in each way; the session ends with the
// right code, and what was sent before is handled.
func TestProtocolErrors(t *testing.T) {
	const limit = 64 << 10
	cases := map[string]struct {
		sent []byte
		code protocol.CloseCode
	}{
		"unmasked":                       {wsframe.AppendFrame(nil, wsframe.OpText, []byte(`{"type":"a.b"}`)), 1002},
		"unmasked ping":                  {wsframe.AppendFrame(nil, wsframe.OpPing, nil), 1002},
		"RSV1":                           {masked(0xC1, "x"), 1002},
		"RSV2":                           {masked(0xA1, "x"), 1002},
		"RSV3":                           {masked(0x91, "x"), 1002},
		"opcode 3":                       {masked(0x83, "x"), 1002},
		"opcode 7":                       {masked(0x87, "x"), 1002},
		"opcode 11":                      {masked(0x8B, ""), 1002},
		"opcode 15":                      {masked(0x8F, ""), 1002},
		"continuation of nothing":        {masked(0x80, "x"), 1002},
		"new message inside a message":   {append(masked(0x01, "x"), masked(0x81, "y")...), 1002},
		"fragmented ping":                {masked(0x09, "x"), 1002},
		"long ping":                      {masked(0x89, strings.Repeat("x", 126)), 1002},
		"length not minimal":             {withLength(0x81, 100), 1002},
		"length with the top bit":        {withLength(0x81, 1<<63), 1002},
		"close with one byte":            {masked(0x88, "x"), 1002},
		"close with 999":                 {masked(0x88, "\x03\xe7"), 1002},
		"close with 1005":                {masked(0x88, "\x03\xed"), 1002},
		"close with 5000":                {masked(0x88, "\x13\x88"), 1002},
		"close reason not UTF-8":         {masked(0x88, "\x03\xe8\xff"), 1007},
		"text not UTF-8":                 {masked(0x81, "{\"type\":\"\xff\"}"), 1007},
		"text not UTF-8 in a fragment":   {append(masked(0x01, "{\"type\":\"\xc3"), masked(0x80, "x\"}")...), 1007},
		"text cut in a character":        {masked(0x81, "\"\xe2\x82"), 1007},
		"text with a surrogate":          {masked(0x81, "\"\xed\xa0\x80\""), 1007},
		"too large":                      {withLength(0x81, limit+1), 1009},
		"far too large":                  {withLength(0x82, 1<<40), 1009},
		"too large in fragments":         {append(masked(0x02, strings.Repeat("x", limit)), masked(0x80, "x")...), 1009},
		"fragment that is too large too": {append(masked(0x01, "x"), withLength(0x80, limit)[:14]...), 1009},
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.MaxMessage = limit })
		fe := g.upgrade("/ws/frontend")
		for name, c := range cases {
			dev := g.upgrade("/ws/device/d")
			dev.write(append(masked(0x81, `{"type":"before.it"}`), c.sent...))
			code, reason := dev.awaitClose()
			if code != c.code || reason != c.code.Name() {
				t.Errorf("%s: closed with %d %q, want %d", name, code, reason, c.code)
			}
			dev.sendClose(uint16(code))
			dev.expectEnd()
			fe.await("before.it")
			if n := fe.notice(protocol.TypeDeviceOffline); n.Reason != c.code.Name() {
				t.Errorf("%s: notice %+v", name, n)
			}
		}
	})
}

// TestInvalidCloseEndsTheConnection: a close frame that is invalid itself, and
// one behind a frame that broke the protocol, is answered with the right code,
// and the connection ends without waiting for another (RFC 6455 section 7.1.1).
func TestInvalidCloseEndsTheConnection(t *testing.T) {
	closing := masked(0x88, "\x03\xe8")
	cases := map[string]struct {
		sent []byte
		code protocol.CloseCode
	}{
		"payload of 1 byte":         {masked(0x88, "x"), 1002},
		"payload of 126 bytes":      {masked(0x88, "\x03\xe8"+strings.Repeat("x", 124)), 1002},
		"reason not UTF-8":          {masked(0x88, "\x03\xe8\xff"), 1007},
		"forbidden code":            {masked(0x88, "\x03\xed"), 1002},
		"undefined code":            {masked(0x88, "\x07\xd0"), 1002},
		"fragmented":                {masked(0x08, "\x03\xe8"), 1002},
		"not masked":                {wsframe.AppendClose(nil, 1000, ""), 1002},
		"behind text not UTF-8":     {slices.Concat(masked(0x81, "\xff"), closing), 1007},
		"behind a reserved opcode":  {slices.Concat(masked(0x83, "x"), closing), 1002},
		"behind a bad frame, twice": {slices.Concat(masked(0xC1, "x"), masked(0x81, "y"), closing, closing), 1002},
		"behind a message too large": {slices.Concat(
			wsframe.AppendMaskedFrame(nil, wsframe.OpBinary, testKey, make([]byte, 2000)), closing), 1009},
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, func(o *Options) { o.MaxMessage = 1024 })
		g.tuneSessions = func(o *session.Options) { o.CloseGrace = 10 * patience }
		g.start()
		for name, c := range cases {
			dev := g.upgrade("/ws/device/d")
			dev.write(slices.Concat(masked(0x89, "answer this"), c.sent))
			if f, err := dev.next(); err != nil || f.op != wsframe.OpPong {
				t.Errorf("%s: %v %q %v, want the pong for what was sent before", name, f.op, f.data, err)
			}
			if code, reason := dev.awaitClose(); code != c.code || reason != c.code.Name() {
				t.Errorf("%s: closed with %d %q, want %d", name, code, reason, c.code)
			}
			dev.expectEnd()
		}
	})
}

// TestFragments sends messages in pieces with control frames between them, and
// empty ones.
func TestFragments(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev, fe := g.upgrade("/ws/device/d"), g.upgrade("/ws/frontend")
		expectPong := func(payload string) {
			t.Helper()
			f, err := dev.next()
			if err != nil || f.op != wsframe.OpPong || string(f.data) != payload {
				t.Errorf("%v %q %v, want a pong with %q", f.op, f.data, err, payload)
			}
		}
		var b []byte
		b = append(b, masked(0x01, `{"type":"in.`)...)
		b = append(b, masked(0x89, "ping between")...)
		b = append(b, masked(0x00, "")...)
		b = append(b, masked(0x8A, "nobody asked")...)
		b = append(b, masked(0x00, `pieces","payload":"`+"\xe2\x82")...)
		b = append(b, masked(0x89, "")...)
		b = append(b, masked(0x80, "\xac"+`"}`)...)
		dev.write(b)
		if msg := fe.await("in.pieces"); string(msg.Payload) != `"€"` {
			t.Errorf("%s", msg.Payload)
		}
		expectPong("ping between")
		expectPong("")

		// An empty text is a message that is not an envelope; an empty binary
		// is not telemetry. Both are told, and the session goes on.
		dev.write(masked(0x81, ""))
		dev.await(protocol.TypeError)
		dev.write(masked(0x82, ""))
		dev.await(protocol.TypeError)
		dev.write(append(masked(0x01, ""), masked(0x80, "")...))
		dev.await(protocol.TypeError)

		whole := telemetry(7, 100)
		dev.write(append(masked(0x02, string(whole[:33])), masked(0x80, string(whole[33:]))...))
		f, err := fe.next()
		if err != nil || f.op != wsframe.OpBinary || string(f.data[8:]) != string(whole[8:]) {
			t.Errorf("%v %q %v", f.op, f.data, err)
		}
		ping := strings.Repeat("p", 125)
		dev.write(masked(0x89, ping))
		expectPong(ping)
	})
}

// TestEveryCut splits one conversation in two at every byte.
func TestEveryCut(t *testing.T) {
	var b []byte
	b = append(b, masked(0x81, `{"type":"one.message","payload":"é"}`)...)
	b = append(b, masked(0x01, `{"type":"two.`)...)
	b = append(b, masked(0x89, "ping")...)
	b = append(b, masked(0x80, `messages"}`)...)
	b = append(b, masked(0x82, string(telemetry(1, 60)))...) // a 16-bit length
	b = append(b, masked(0x81, `{"type":"three.messages"}`)...)
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev, fe := g.upgrade("/ws/device/d"), g.upgrade("/ws/frontend")
		for cut := 1; cut < len(b); cut++ {
			dev.write(b[:cut])
			if cut%8 == 0 {
				// So that the first part is surely read by itself.
				time.Sleep(200 * time.Microsecond)
			}
			dev.write(b[cut:])
			// Text goes before telemetry, so the order of all is not fixed.
			var texts []string
			for frames := 0; len(texts) < 3 || frames == 0; {
				f, err := fe.next()
				if err != nil {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				if f.op == wsframe.OpBinary {
					frames++
					continue
				}
				if msg := fe.message(f); msg.Type != protocol.TypeDeviceOnline {
					texts = append(texts, msg.Type)
				}
			}
			if want := []string{"one.message", "two.messages", "three.messages"}; !slices.Equal(texts, want) {
				t.Fatalf("cut at %d: %v", cut, texts)
			}
			if f, err := dev.next(); err != nil || f.op != wsframe.OpPong || string(f.data) != "ping" {
				t.Fatalf("cut at %d: %v %q %v", cut, f.op, f.data, err)
			}
		}
	})
}

// TestEarlyFrames sends frames in the same segment as the handshake's request,
// before its answer: RFC 6455 section 4.1 does not allow that, but nothing may
// be lost and nothing may break. Many at once, to meet attach with the first
// bytes in every order.
func TestEarlyFrames(t *testing.T) {
	const devices, messages = 60, 20
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.Pollers = 2 })
		fe := g.upgrade("/ws/frontend")
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := worker; i < devices; i += 4 {
					conn, err := g.tryDial()
					if err != nil {
						t.Error(err)
						return
					}
					b := []byte(request(fmt.Sprintf("/ws/device/d%d", i)))
					for n := range messages {
						b = append(b, masked(0x81, fmt.Sprintf(`{"type":"early.message","payload":%d}`, n))...)
					}
					// Some cut the last frame, some have all of it.
					cut := len(b) - i%3*5
					if _, err := conn.Write(b[:cut]); err != nil {
						t.Error(err)
					}
					if cut < len(b) {
						if _, err := conn.Write(b[cut:]); err != nil {
							t.Error(err)
						}
					}
					p := newPeer(t, conn)
					if head, err := p.readHead(); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
						t.Errorf("%q %v", head, err)
						return
					}
					if f, err := p.next(); err != nil || !strings.Contains(string(f.data), protocol.TypeWelcome) {
						t.Errorf("%q %v", f.data, err)
					}
				}
			})
		}
		next := map[string]int{}
		for range devices * messages {
			msg := fe.await("early.message")
			if string(msg.Payload) != fmt.Sprint(next[msg.Src]) {
				t.Errorf("%s: message %s, want %d", msg.Src, msg.Payload, next[msg.Src])
			}
			next[msg.Src]++
		}
		all.Wait()
	})
}
