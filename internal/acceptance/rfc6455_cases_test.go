package acceptance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/labgate/labgate/internal/wsframe"
)

// echoLimit is the message limit that the cases are written for.
const echoLimit = 4096

// rfcCase is a piece of conversation with /ws/echo.
type rfcCase struct {
	section, name string
	sent          []byte
	// messages and pongs are the expected answers, each in order: a pong may
	// overtake a waiting message.
	messages []echoed
	pongs    []string
	// code is the code in the gateway's close frame: 0 when the session stays
	// open, 1005 for a close frame without a code.
	code uint16
}

// announce returns the header of a masked frame with an extended length of 2
// or 8 bytes.
func announce(b0 byte, bytes int, n uint64) []byte {
	if bytes == 2 {
		return append(binary.BigEndian.AppendUint16([]byte{b0, 0x80 | 126}, uint16(n)), 1, 2, 3, 4)
	}
	return append(binary.BigEndian.AppendUint64([]byte{b0, 0x80 | 127}, n), 1, 2, 3, 4)
}

// closing is a close frame's payload.
func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

func rfcCases() []rfcCase {
	var all []rfcCase
	add := func(c rfcCase) { all = append(all, c) }
	text := func(s string) echoed { return echoed{wsframe.OpText, s} }
	binaryOf := func(s string) echoed { return echoed{wsframe.OpBinary, s} }
	hello := frame(0x81, "hello")
	said := []echoed{text("hello")}

	// 5.2: framing.
	for _, n := range []int{0, 1, 7, 125, 126, 127, 300} {
		payload := strings.Repeat("*", n)
		add(rfcCase{section: "5.2", name: fmt.Sprintf("text of %d", n), sent: frame(0x81, payload), messages: []echoed{text(payload)}})
		add(rfcCase{section: "5.2", name: fmt.Sprintf("binary of %d", n), sent: frame(0x82, payload), messages: []echoed{binaryOf(payload)}})
	}
	add(rfcCase{section: "5.2", name: "every byte value", sent: frame(0x82, "\x00\x01\x7f\x80\xfe\xff"), messages: []echoed{binaryOf("\x00\x01\x7f\x80\xfe\xff")}})
	add(rfcCase{section: "5.2", name: "two messages at once", sent: join(hello, frame(0x82, "\xff")), messages: []echoed{text("hello"), binaryOf("\xff")}})
	for bit, name := range map[byte]string{0x40: "RSV1", 0x20: "RSV2", 0x10: "RSV3", 0x70: "all RSV bits", 0x50: "RSV1 and RSV3"} {
		add(rfcCase{section: "5.2", name: name, sent: join(hello, frame(0x81|bit, "x"), frame(0x89, "")), messages: said, code: 1002})
		add(rfcCase{section: "5.2", name: name + " on a binary", sent: frame(0x82|bit, "x"), code: 1002})
		add(rfcCase{section: "5.2", name: name + " on a ping", sent: frame(0x89|bit, ""), code: 1002})
		add(rfcCase{section: "5.2", name: name + " on a close", sent: frame(0x88|bit, ""), code: 1002})
		add(rfcCase{section: "5.2", name: name + " on a continuation", sent: join(frame(0x01, "a"), frame(0x80|bit, "b")), code: 1002})
	}
	for op := byte(3); op < 16; op++ {
		if op >= 8 && op <= 10 {
			continue
		}
		add(rfcCase{section: "5.2", name: fmt.Sprintf("opcode %d", op), sent: join(hello, frame(0x80|op, "x"), frame(0x89, "")), messages: said, code: 1002})
		add(rfcCase{section: "5.2", name: fmt.Sprintf("opcode %d, empty", op), sent: frame(0x80|op, ""), code: 1002})
		add(rfcCase{section: "5.2", name: fmt.Sprintf("opcode %d inside a message", op), sent: join(frame(0x01, "a"), frame(op, "b")), code: 1002})
	}
	add(rfcCase{section: "5.2", name: "length 125 in 2 bytes", sent: announce(0x81, 2, 125), code: 1002})
	add(rfcCase{section: "5.2", name: "length 0 in 2 bytes", sent: announce(0x82, 2, 0), code: 1002})
	add(rfcCase{section: "5.2", name: "length 125 in 8 bytes", sent: announce(0x81, 8, 125), code: 1002})
	add(rfcCase{section: "5.2", name: "length 65535 in 8 bytes", sent: announce(0x81, 8, 65535), code: 1002})
	add(rfcCase{section: "5.2", name: "length with the top bit", sent: announce(0x81, 8, 1<<63), code: 1002})

	// 5.1 and 5.3: masking.
	add(rfcCase{section: "5.1", name: "unmasked text", sent: join(hello, wsframe.AppendFrame(nil, wsframe.OpText, []byte("x"))), messages: said, code: 1002})
	add(rfcCase{section: "5.1", name: "unmasked empty binary", sent: wsframe.AppendFrame(nil, wsframe.OpBinary, nil), code: 1002})
	add(rfcCase{section: "5.1", name: "unmasked ping", sent: wsframe.AppendFrame(nil, wsframe.OpPing, nil), code: 1002})
	add(rfcCase{section: "5.1", name: "unmasked close", sent: wsframe.AppendClose(nil, 1000, ""), code: 1002})
	add(rfcCase{section: "5.1", name: "unmasked continuation", sent: join(frame(0x01, "a"), []byte{0x80, 1, 'b'}), code: 1002})
	for _, key := range []uint32{0, 0xffffffff, 0x00ff00ff, 1} {
		add(rfcCase{section: "5.3", name: fmt.Sprintf("key %08x", key), sent: wsframe.AppendMaskedFrame(nil, wsframe.OpText, key, []byte("masked with care")), messages: []echoed{text("masked with care")}})
	}

	// 5.4: fragmentation, with control frames in between.
	add(rfcCase{section: "5.4", name: "two fragments", sent: join(frame(0x01, "hel"), frame(0x80, "lo")), messages: said})
	add(rfcCase{section: "5.4", name: "binary in fragments of one byte", sent: join(frame(0x02, "a"), frame(0x00, "b"), frame(0x00, "c"), frame(0x80, "d")), messages: []echoed{binaryOf("abcd")}})
	add(rfcCase{section: "5.4", name: "empty fragments", sent: join(frame(0x01, ""), frame(0x00, ""), frame(0x80, "")), messages: []echoed{text("")}})
	add(rfcCase{section: "5.4", name: "empty fragments around", sent: join(frame(0x01, ""), frame(0x00, "mid"), frame(0x80, "")), messages: []echoed{text("mid")}})
	add(rfcCase{section: "5.4", name: "control frames in between", sent: join(frame(0x01, "a"), frame(0x89, "one"), frame(0x00, "b"), frame(0x8A, "unasked"), frame(0x89, ""), frame(0x80, "c")), messages: []echoed{text("abc")}, pongs: []string{"one", ""}})
	add(rfcCase{section: "5.4", name: "close in between", sent: join(frame(0x01, "a"), frame(0x88, closing(1000, "")), frame(0x80, "b")), code: 1000})
	add(rfcCase{section: "5.4", name: "continuation of nothing", sent: join(frame(0x80, "x"), hello), code: 1002})
	add(rfcCase{section: "5.4", name: "continuation of nothing, not the last", sent: join(frame(0x00, "x"), frame(0x80, "y")), code: 1002})
	add(rfcCase{section: "5.4", name: "continuation behind a whole message", sent: join(hello, frame(0x00, "x")), messages: said, code: 1002})
	add(rfcCase{section: "5.4", name: "continuation behind a fragmented message", sent: join(frame(0x01, "hel"), frame(0x80, "lo"), frame(0x80, "x")), messages: said, code: 1002})
	add(rfcCase{section: "5.4", name: "text inside a message", sent: join(frame(0x01, "a"), hello), code: 1002})
	add(rfcCase{section: "5.4", name: "binary inside a text", sent: join(frame(0x01, "a"), frame(0x02, "b")), code: 1002})
	add(rfcCase{section: "5.4", name: "message inside a binary", sent: join(frame(0x02, "a"), frame(0x00, "b"), frame(0x82, "c")), code: 1002})

	// 5.5: control frames.
	add(rfcCase{section: "5.5.2", name: "ping", sent: frame(0x89, "payload"), pongs: []string{"payload"}})
	add(rfcCase{section: "5.5.2", name: "empty ping", sent: frame(0x89, ""), pongs: []string{""}})
	add(rfcCase{section: "5.5.2", name: "binary ping of 125", sent: frame(0x89, strings.Repeat("\x00\xff\xfe", 42)[:125]), pongs: []string{strings.Repeat("\x00\xff\xfe", 42)[:125]}})
	add(rfcCase{section: "5.5.2", name: "ten pings", sent: join(frame(0x89, "1"), frame(0x89, "2"), frame(0x89, "3"), frame(0x89, "4"), frame(0x89, "5")), pongs: []string{"1", "2", "3", "4", "5"}})
	add(rfcCase{section: "5.5.3", name: "pong that nobody asked for", sent: join(frame(0x8A, "x"), frame(0x8A, ""), frame(0x89, "p")), pongs: []string{"p"}})
	for op, name := range map[byte]string{0x8: "close", 0x9: "ping", 0xA: "pong"} {
		add(rfcCase{section: "5.5", name: "fragmented " + name, sent: join(frame(op, closing(1000, "")), frame(0x80, "x")), code: 1002})
		add(rfcCase{section: "5.5", name: name + " of 126", sent: announce(0x80|op, 2, 126), code: 1002})
		add(rfcCase{section: "5.5", name: name + " with a long length", sent: announce(0x80|op, 8, 1<<16), code: 1002})
	}

	// 5.5.1, 7.1, 7.4: the closing handshake and its codes.
	add(rfcCase{section: "5.5.1", name: "close without a code", sent: frame(0x88, ""), code: 1000})
	add(rfcCase{section: "5.5.1", name: "close with a reason", sent: frame(0x88, closing(1000, "good-bye, ünïcode")), code: 1000})
	add(rfcCase{section: "5.5.1", name: "close with the longest reason", sent: frame(0x88, closing(1001, strings.Repeat("r", 123))), code: 1001})
	add(rfcCase{section: "5.5.1", name: "close with one byte", sent: frame(0x88, "x"), code: 1002})
	add(rfcCase{section: "5.5.1", name: "reason not UTF-8", sent: frame(0x88, closing(1000, "\xff\xfe")), code: 1007})
	add(rfcCase{section: "5.5.1", name: "reason cut in a character", sent: frame(0x88, closing(1000, "\xe2\x82")), code: 1007})
	add(rfcCase{section: "7.1.4", name: "message, then close", sent: join(hello, frame(0x88, closing(1000, ""))), messages: said, code: 1000})
	add(rfcCase{section: "7.1.4", name: "ping, then close", sent: join(frame(0x89, "p"), frame(0x88, closing(1000, ""))), pongs: []string{"p"}, code: 1000})
	add(rfcCase{section: "7.1.4", name: "close, then close", sent: join(frame(0x88, closing(1000, "")), frame(0x88, closing(1001, ""))), code: 1000})
	add(rfcCase{section: "7.1.4", name: "close, then ping", sent: join(frame(0x88, closing(1000, "")), frame(0x89, "late")), code: 1000})
	add(rfcCase{section: "7.1.4", name: "close, then message", sent: join(frame(0x88, closing(1000, "")), hello), code: 1000})
	add(rfcCase{section: "7.1.4", name: "close, then garbage", sent: join(frame(0x88, closing(3000, "")), []byte("\xff\xff\xff\xff")), code: 3000})
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(rfcCase{section: "7.4", name: fmt.Sprintf("close with %d", code), sent: frame(0x88, closing(code, "")), code: code})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(rfcCase{section: "7.4", name: fmt.Sprintf("close with %d", code), sent: frame(0x88, closing(code, "")), code: 1002})
	}

	// 8.1: text is UTF-8, also across fragments, and fails as soon as it cannot
	// become valid.
	const greek = "κόσμε \U00010FFFF \uFFFD €"
	add(rfcCase{section: "8.1", name: "all lengths of characters", sent: frame(0x81, greek), messages: []echoed{text(greek)}})
	add(rfcCase{section: "8.1", name: "NUL and noncharacters", sent: frame(0x81, "\x00\uFFFE\uFFFF\U0001FFFE"), messages: []echoed{text("\x00\uFFFE\uFFFF\U0001FFFE")}})
	for cut := 1; cut < len(greek); cut++ {
		add(rfcCase{section: "8.1", name: fmt.Sprintf("fragments cut at %d", cut), sent: join(frame(0x01, greek[:cut]), frame(0x80, greek[cut:])), messages: []echoed{text(greek)}})
	}
	add(rfcCase{section: "8.1", name: "a ping inside a character", sent: join(frame(0x01, "\xe2"), frame(0x89, "\xff"), frame(0x00, "\x82"), frame(0x80, "\xac")), messages: []echoed{text("€")}, pongs: []string{"\xff"}})
	for name, bad := range map[string]string{
		"lone continuation": "\x80", "overlong slash": "\xc0\xaf", "overlong NUL": "\xe0\x80\x80", "overlong in 4 bytes": "\xf0\x80\x80\xaf", "surrogate": "\xed\xa0\x80", "surrogate pair": "\xed\xa0\x80\xed\xb0\x80",
		"above U+10FFFF": "\xf4\x90\x80\x80", "byte fe": "\xfe", "byte ff": "\xff", "5-byte form": "\xf8\x88\x80\x80\x80", "second byte missing": "\xc3 ",
	} {
		add(rfcCase{section: "8.1", name: name, sent: frame(0x81, "ok"+bad+"ok"), code: 1007})
		add(rfcCase{section: "8.1", name: name + " in a second fragment", sent: join(frame(0x01, "ok"), frame(0x80, bad+"ok")), code: 1007})
		add(rfcCase{section: "8.1", name: name + ", message not finished", sent: frame(0x01, "ok"+bad+"ok"), code: 1007})
		add(rfcCase{section: "8.1", name: name + ", frame not finished", sent: frame(0x81, "ok"+bad+"ok"+strings.Repeat("x", 100))[:6+len(bad)+4], code: 1007})
		add(rfcCase{section: "8.1", name: name + " is good binary", sent: frame(0x82, bad), messages: []echoed{binaryOf(bad)}})
	}
	for _, cut := range []string{"\xc3", "\xe2\x82", "\xf0\x9f\x98"} {
		add(rfcCase{section: "8.1", name: fmt.Sprintf("ends after %x", cut), sent: frame(0x81, "x"+cut), code: 1007})
		add(rfcCase{section: "8.1", name: fmt.Sprintf("last fragment ends after %x", cut), sent: join(frame(0x01, "x"), frame(0x80, cut)), code: 1007})
	}

	// 10.4: limits on messages.
	full := strings.Repeat("f", echoLimit)
	add(rfcCase{section: "10.4", name: "one byte too many announced", sent: announce(0x81, 2, echoLimit+1), code: 1009})
	add(rfcCase{section: "10.4", name: "far too many announced", sent: announce(0x82, 8, 1<<62), code: 1009})
	add(rfcCase{section: "10.4", name: "a fragment too many", sent: join(frame(0x01, full), frame(0x80, "x")[:2], []byte{1, 2, 3, 4}), code: 1009})
	add(rfcCase{section: "10.4", name: "as large as allowed", sent: frame(0x82, full), messages: []echoed{binaryOf(full)}})
	add(rfcCase{section: "10.4", name: "1,000 empty fragments", sent: join(frame(0x01, ""), bytes.Repeat(frame(0x00, ""), 999), frame(0x80, "x")), messages: []echoed{text("x")}})
	add(rfcCase{section: "10.4", name: "an empty fragment too many", sent: join(frame(0x01, ""), bytes.Repeat(frame(0x00, ""), 1000)), code: 1009})
	return all
}
