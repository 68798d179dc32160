package acceptance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// talk is one conversation of a rawClient with /ws/echo on a new connection.
type talk struct {
	name string
	hold func(c *rawClient) error
}

const (
	rawText, rawBinary, rawPing, rawPong, rawClose = 0x81, 0x82, 0x89, 0x8A, 0x88
	kib, mib                                       = 1 << 10, 1 << 20
)

// TestConformance tests the shipped binary with its default limits, in the
// order of the chapters of conformance suites. The client shares no code with
// the gateway.
func TestConformance(t *testing.T) {
	// The talks are made once for all modes, because masking large messages
	// takes time.
	talks := slices.Concat(framingTalks(), pingTalks(), refusedTalks(), fragmentTalks(), utf8Talks(), closingTalks(), volumeTalks())
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m)
			for _, c := range talks {
				began := time.Now()
				if err := c.run(g, m); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if d := time.Since(began); d > 2*time.Second {
					t.Logf("%s took %v", c.name, d)
				}
			}
			if n := g.Metric("labgate_panics_total"); n != 0 {
				t.Errorf("%v panics", n)
			}
			gatewaytest.Eventually(t, "all sessions are gone", func() bool { return g.Metric("labgate_connections") == 0 })
		})
	}
}

func (k *talk) run(g *gatewaytest.Gateway, m echoMode) error {
	c, err := dialRaw(g, m)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	return k.hold(c)
}

// say writes b in pieces, expects these frames, and closes with a closing
// handshake.
func say(b []byte, piece int, frames ...rawFrame) func(c *rawClient) error {
	return func(c *rawClient) error {
		if err := c.write(b, piece); err != nil {
			return err
		}
		for _, f := range frames {
			if err := c.expect(f.first, f.payload); err != nil {
				return err
			}
		}
		if err := c.write(rawBytes(rawClose, code(1000)), 100); err != nil {
			return err
		}
		return c.expectClosed(1000)
	}
}

// wrong writes b in pieces, expects these frames, and then a close frame with
// a code.
func wrong(b []byte, piece int, want uint16, frames ...rawFrame) func(c *rawClient) error {
	return func(c *rawClient) error {
		// The server may close the connection before it has read everything.
		_ = c.write(b, piece)
		for _, f := range frames {
			if err := c.expect(f.first, f.payload); err != nil {
				return err
			}
		}
		return c.expectClosed(want)
	}
}

func raw(first byte, payload string) rawFrame { return rawFrame{first, []byte(payload)} }

func sent(first byte, payload string) []byte { return rawBytes(first, []byte(payload)) }

func code(c uint16) []byte { return binary.BigEndian.AppendUint16(nil, c) }

func framingTalks() (all []talk) {
	for _, first := range []byte{rawText, rawBinary} {
		for _, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
			payload := strings.Repeat("*", n)
			all = append(all, talk{fmt.Sprintf("%#x of %d", first, n), say(sent(first, payload), 1<<30, raw(first, payload))})
		}
		payload := strings.Repeat("*", 65536)
		all = append(all, talk{"in pieces of 997", say(sent(first, payload), 997, raw(first, payload))})
	}
	return all
}

func pingTalks() []talk {
	var ten []byte
	var pongs []rawFrame
	for i := range 10 {
		ten = append(ten, sent(rawPing, fmt.Sprintf("payload-%d", i))...)
		pongs = append(pongs, raw(rawPong, fmt.Sprintf("payload-%d", i)))
	}
	full := strings.Repeat("\xfe", 125)
	return []talk{
		{"empty ping", say(sent(rawPing, ""), 1, raw(rawPong, ""))},
		{"ping of 125", say(sent(rawPing, full), 1<<30, raw(rawPong, full))},
		{"ping of 125, byte by byte", say(sent(rawPing, full), 1, raw(rawPong, full))},
		{"ping of 126", wrong(sent(rawPing, full+"x"), 1<<30, 1002)},
		{"pongs that nobody asked for", say(join(sent(rawPong, ""), sent(rawPong, "x"), sent(rawPing, "p")), 1, raw(rawPong, "p"))},
		{"ten pings", say(ten, 1<<30, pongs...)},
		{"ten pings, byte by byte", say(ten, 1, pongs...)},
	}
}

func refusedTalks() (all []talk) {
	before, hello := sent(rawText, "Hello, world!"), raw(rawText, "Hello, world!")
	for _, rsv := range []byte{0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70} {
		for _, piece := range []int{1 << 30, 1} {
			b := join(before, sent(rawText|rsv, "Hello"), sent(rawPing, ""))
			all = append(all, talk{fmt.Sprintf("reserved bits %#x", rsv), wrong(b, piece, 1002, hello)})
		}
		all = append(all, talk{fmt.Sprintf("reserved bits %#x on a close frame", rsv), wrong(sent(rawClose|rsv, ""), 1, 1002)})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		all = append(all, talk{fmt.Sprintf("opcode %d", op), wrong(join(before, sent(0x80|op, "reserved"), sent(rawPing, "")), 1, 1002, hello)},
			talk{fmt.Sprintf("opcode %d, empty", op), wrong(join(before, sent(0x80|op, ""), sent(rawPing, "")), 1<<30, 1002, hello)})
	}
	return all
}

func fragmentTalks() []talk {
	pings := join(sent(0x01, "fragment1"), sent(0x00, "fragment2"), sent(rawPing, "pongme 1!"), sent(0x00, "fragment3"), sent(0x00, "fragment4"), sent(rawPing, "pongme 2!"), sent(0x80, "fragment5"))
	got := []rawFrame{raw(rawPong, "pongme 1!"), raw(rawPong, "pongme 2!"), raw(rawText, "fragment1fragment2fragment3fragment4fragment5")}
	return []talk{
		{"fragmented ping", wrong(join(sent(0x09, "a"), sent(0x80, "b")), 1<<30, 1002)},
		{"fragmented pong", wrong(join(sent(0x0A, "a"), sent(0x80, "b")), 1, 1002)},
		{"two fragments", say(join(sent(0x01, "a"), sent(0x80, "b")), 1, raw(rawText, "ab"))},
		{"a ping in between", say(join(sent(0x01, "a"), sent(rawPing, "ping"), sent(0x80, "b")), 1, raw(rawPong, "ping"), raw(rawText, "ab"))},
		{"continuation of nothing", wrong(join(sent(0x80, "x"), sent(rawText, "Hello")), 1<<30, 1002)},
		{"continuation of nothing, to be continued", wrong(join(sent(0x00, "x"), sent(rawText, "Hello")), 1, 1002)},
		{"text inside a text", wrong(join(sent(0x01, "a"), sent(rawText, "b")), 1<<30, 1002)},
		{"pings between fragments", say(pings, 1<<30, got...)},
		{"pings between fragments, byte by byte", say(pings, 1, got...)},
	}
}

func utf8Talks() []talk {
	const good, bad = "κόσμε", "\xed\xa0\x80edited"
	whole := sent(rawText, good+"\xf4\x90\x80\x80"+good)
	return []talk{
		{"characters cut by fragments of a byte", say(rawFragments(1, []byte(good), 1), 1<<30, raw(rawText, good))},
		{"characters cut by TCP", say(sent(rawText, good), 1, raw(rawText, good))},
		{"not UTF-8", wrong(sent(rawText, good+bad), 1<<30, 1007)},
		{"not UTF-8, byte by byte", wrong(rawFragments(1, []byte(good+bad), 1), 1, 1007)},
		{"ends in a character", wrong(sent(rawText, good[:len(good)-1]), 1<<30, 1007)},
		// The gateway must fail the message before the rest, which is never
		// sent.
		{"fails within a message", wrong(sent(0x01, good+"\xf4\x90"), 1<<30, 1007)},
		{"fails within a frame", wrong(whole[:6+len(good)+2], 1<<30, 1007)},
		{"fails within a frame, byte by byte", wrong(whole[:6+len(good)+2], 1, 1007)},
		{"fails in a later fragment", wrong(join(sent(0x01, good), sent(0x00, "\xf4\x90")), 1<<30, 1007)},
		{"any bytes in binary", say(sent(rawBinary, bad), 1, raw(rawBinary, bad))},
	}
}

func closingTalks() []talk {
	bye := rawBytes(rawClose, code(1000))
	large := strings.Repeat("BAsd7&jh23", 256*kib/10)
	all := []talk{
		{"message, close", wrong(join(sent(rawText, "Hello"), bye), 1<<30, 1000, raw(rawText, "Hello"))},
		{"close, close", wrong(join(bye, bye), 1<<30, 1000)},
		{"close, ping", wrong(join(bye, sent(rawPing, "")), 1<<30, 1000)},
		{"close, message", wrong(join(bye, sent(rawText, "Hello")), 1<<30, 1000)},
		{"fragment, close, fragment", wrong(join(sent(0x01, "a"), bye, sent(0x80, "b")), 1<<30, 1000)},
		{"256 KiB, close, ping", wrong(join(sent(rawText, large), bye, sent(rawPing, "")), 1<<30, 1000, raw(rawText, large))},
		{"close without a code", wrong(sent(rawClose, ""), 1, 1000)},
		{"close with one byte", wrong(sent(rawClose, "a"), 1, 1002)},
		{"close with a reason", wrong(join(rawBytes(rawClose, append(code(1000), "Hello World!"...))), 1, 1000)},
		{"close with the longest reason", wrong(rawBytes(rawClose, append(code(1000), strings.Repeat("*", 123)...)), 1<<30, 1000)},
		{"close with too long a reason", wrong(rawBytes(rawClose, append(code(1000), strings.Repeat("*", 124)...)), 1<<30, 1002)},
		{"close with a reason that is not UTF-8", wrong(rawBytes(rawClose, append(code(1000), "\xce\xba\xed\xa0\x80"...)), 1<<30, 1007)},
	}
	for _, c := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		all = append(all, talk{fmt.Sprintf("close with %d", c), wrong(rawBytes(rawClose, code(c)), 1, c)})
	}
	for _, c := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535} {
		all = append(all, talk{fmt.Sprintf("close with %d", c), wrong(rawBytes(rawClose, code(c)), 1, 1002)})
	}
	return all
}

func volumeTalks() (all []talk) {
	for _, first := range []byte{rawText, rawBinary} {
		payload := bytes.Repeat([]byte("0123456789abcdé"), mib)[:16*mib]
		if first == rawBinary {
			payload = bytes.Repeat([]byte("\x00\xfe0123456789abcd"), mib)
		}
		for _, n := range []int{64 * kib, mib, 4 * mib, 16 * mib} {
			all = append(all, talk{fmt.Sprintf("%#x of %d", first, n), say(rawBytes(first, payload[:n]), 1<<30, rawFrame{first, payload[:n]})})
		}
		for _, size := range []int{64, kib, 64 * kib, mib} {
			all = append(all, talk{fmt.Sprintf("%#x of 4 MiB in fragments of %d", first, size), say(rawFragments(first&15, payload[:4*mib], size), 1<<30, rawFrame{first, payload[:4*mib]})})
		}
		for _, piece := range []int{64, 2 * kib} {
			all = append(all, talk{fmt.Sprintf("%#x of 1 MiB in pieces of %d", first, piece), say(rawBytes(first, payload[:mib]), piece, rawFrame{first, payload[:mib]})})
		}
		for _, n := range []int{0, 16, kib, 16 * kib, 128 * kib} {
			message := rawBytes(first, payload[:n])
			all = append(all, talk{fmt.Sprintf("1,000 times %#x of %d, each answered before the next", first, n), func(c *rawClient) error {
				for i := range 1000 {
					if err := c.write(message, 1<<30); err != nil {
						return err
					}
					if err := c.expect(first, payload[:n]); err != nil {
						return fmt.Errorf("message %d: %w", i, err)
					}
				}
				return nil
			}})
		}
		for _, n := range []int{128, 64 * kib} {
			ahead := 3 * mib / n
			message := rawBytes(first, payload[:n])
			all = append(all, talk{fmt.Sprintf("%d times %#x of %d, sent ahead", ahead, first, n), func(c *rawClient) error {
				if err := c.write(bytes.Repeat(message, ahead), 1<<30); err != nil {
					return err
				}
				for i := range ahead {
					if err := c.expect(first, payload[:n]); err != nil {
						return fmt.Errorf("message %d: %w", i, err)
					}
				}
				return nil
			}})
		}
		for _, n := range []int{kib, 16 * kib, mib, 16 * mib} {
			count := 96 * mib / n
			if n == kib {
				count /= 4
			}
			message := bytes.Repeat(rawBytes(first, payload[:n]), max(1, 64*kib/n))
			all = append(all, talk{fmt.Sprintf("%d times %#x of %d, as fast as it goes", count, first, n), func(c *rawClient) error {
				wrote := make(chan error, 1)
				go func() {
					var err error
					for i := 0; i < count && err == nil; i += max(1, 64*kib/n) {
						err = c.write(message, 1<<30)
					}
					wrote <- err
				}()
				for i := range count {
					if err := c.expect(first, payload[:n]); err != nil {
						return fmt.Errorf("message %d: %w", i, err)
					}
				}
				return <-wrote
			}})
		}
		tooLarge := []byte{first, 0x80 | 127, 0, 0, 0, 0, 1, 0, 0, 1, 1, 2, 3, 4}
		all = append(all, talk{fmt.Sprintf("%#x of a byte more than 16 MiB", first), wrong(tooLarge, 1<<30, 1009)})
	}
	return all
}
