package wsframe

import (
	"slices"
	"strings"
)

func closePayload(code uint16, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

func closeVectors() []vector {
	all := []vector{
		{name: "5.5.1 empty close, then anything", input: join(masked(closing, ""), masked(wholeText, "late"), []byte{0xFF, 0xFF}),
			events: []string{control(OpClose, "")}},
		{name: "5.5.1 close inside a message", input: join(masked(firstText, "x"), masked(closing, closePayload(1001, "bye")), masked(last, "y")),
			events: []string{control(OpClose, closePayload(1001, "bye"))}},
		{name: "5.5.1 two closes", client: true, input: join(plain(closing, closePayload(1000, "")), plain(closing, "")),
			events: []string{control(OpClose, closePayload(1000, ""))}},
		{name: "5.5.1 longest reason", input: masked(closing, closePayload(1000, strings.Repeat("é", 61)+"x")),
			events: []string{control(OpClose, closePayload(1000, strings.Repeat("é", 61)+"x"))}},
		{name: "5.5.1 close of 1 byte", input: masked(closing, "\x03"), code: 1002, section: "5.5.1", at: 7},
		{name: "5.5.1 bad reason", input: masked(closing, closePayload(1000, "a\xffb")), code: 1007, section: "8.1", at: 11},
		{name: "5.5.1 cut character in the reason", client: true, input: plain(closing, closePayload(1000, "\xe2\x82")),
			code: 1007, section: "8.1", at: 6},
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		all = append(all, vector{name: "7.4 legal code", input: masked(closing, closePayload(code, "")),
			events: []string{control(OpClose, closePayload(code, ""))}})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		all = append(all, vector{name: "7.4 illegal code", input: masked(closing, closePayload(code, "why")),
			code: 1002, section: "7.4", at: 11})
	}
	return all
}

func limitVectors() []vector {
	empties := slices.Repeat(masked(more, ""), 999)
	return []vector{
		{name: "10.4 as many empty fragments as allowed", input: slices.Repeat(join(masked(firstText, ""), empties, masked(more, "a"), masked(last, "")), 2),
			events: []string{message(OpText, "a"), message(OpText, "a")}},
		{name: "10.4 as many empty fragments as allowed, and nothing else", input: slices.Repeat(join(masked(firstBinary, ""), empties, masked(last, "")), 2),
			events: []string{message(OpBinary, ""), message(OpBinary, "")}},
		{name: "10.4 an empty fragment too many", input: join(masked(firstText, ""), empties, masked(more, "a"), masked(ping, ""), masked(more, "")),
			events: []string{control(OpPing, "")}, code: 1009, section: "10.4", at: 6*1000 + 7 + 6 + 2},
		{name: "10.4 any number of fragments of a byte", client: true, input: join(plain(firstBinary, "a"), slices.Repeat(plain(more, "a"), 5000), plain(last, "")),
			events: []string{message(OpBinary, strings.Repeat("a", 5001))}},
		{name: "10.4 at the limit", limit: 10, input: masked(wholeText, "0123456789"), events: []string{message(OpText, "0123456789")}},
		{name: "10.4 over the limit", limit: 10, input: masked(wholeText, "0123456789x"), code: 1009, section: "10.4", at: 2},
		{name: "10.4 over the limit, 16-bit length", limit: 1000, input: masked(wholeBinary, strings.Repeat("x", 1001)),
			code: 1009, section: "10.4", at: 4},
		{name: "10.4 over the limit, 64-bit length", input: []byte{0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4},
			code: 1009, section: "10.4", at: 10},
		{name: "10.4 fragments at the limit", limit: 10, input: join(masked(firstText, "01234"), masked(ping, "0123456789x"),
			masked(more, "56789"), masked(last, "")),
			events: []string{control(OpPing, "0123456789x"), message(OpText, "0123456789")}},
		{name: "10.4 fragments over the limit", limit: 10, input: join(masked(firstText, "01234"), masked(more, "567890")),
			code: 1009, section: "10.4", at: 13},
		{name: "10.4 the limit is per message", limit: 4, input: join(masked(wholeText, "0123"), masked(firstText, "01"), masked(last, "23"), masked(wholeText, "0123")),
			events: []string{message(OpText, "0123"), message(OpText, "0123"), message(OpText, "0123")}},
	}
}

// textVectors has valid and invalid UTF-8. A frame's payload begins 6 bytes
// after the frame, so `at` is 6 plus the place of the first bad byte.
func textVectors() []vector {
	all := []vector{
		{name: "8.1 all lengths of characters", input: masked(wholeText, "aé€😀\x00\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"),
			events: []string{message(OpText, "aé€😀\x00\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff")}},
		{name: "8.1 character over fragments", input: join(masked(firstText, "\xf0"), masked(more, "\x9f"), masked(more, ""),
			masked(more, "\x98"), masked(last, "\x80")),
			events: []string{message(OpText, "😀")}},
		{name: "8.1 binary is not checked", input: join(masked(firstBinary, "\xff"), masked(last, "\xc0"), masked(wholeBinary, "\xff")),
			events: []string{message(OpBinary, "\xff\xc0"), message(OpBinary, "\xff")}},
		{name: "8.1 bad byte in the first fragment", input: join(masked(firstText, "a\xffbc"), masked(last, "d")),
			code: 1007, section: "8.1", at: 8},
		{name: "8.1 bad byte in a later fragment", input: join(masked(firstText, "ab"), masked(ping, ""), masked(more, "c\xfed"), masked(last, "")),
			events: []string{control(OpPing, "")}, code: 1007, section: "8.1", at: 8 + 6 + 8},
		{name: "8.1 character broken by the next fragment", input: join(masked(firstText, "\xe2\x82"), masked(last, "a")),
			code: 1007, section: "8.1", at: 8 + 7},
		{name: "8.1 fragmented message ends in a character", input: join(masked(firstText, "a"), masked(last, "b\xe2\x82")),
			code: 1007, section: "8.1", at: 7 + 9},
		{name: "8.1 empty last fragment ends in a character", input: join(masked(firstText, "a\xe2"), masked(last, "")),
			code: 1007, section: "8.1", at: 8 + 6},
		{name: "8.1 late start ends in a character", input: join(masked(firstText, ""), masked(last, "b\xe2\x82")),
			code: 1007, section: "8.1", at: 6 + 9},
		{name: "8.1 message ends in a character", client: true, input: plain(wholeText, "ab\xf0\x9f\x98"),
			code: 1007, section: "8.1", at: 7},
		{name: "8.1 unfinished frame", input: masked(wholeText, "ok\xc0"+strings.Repeat("x", 100))[:50],
			code: 1007, section: "8.1", at: 9},
		{name: "8.1 unfinished long frame", input: join([]byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0, 0, 0, 0, 0, 0}, []byte("aé\xed\xa0")),
			code: 1007, section: "8.1", at: 14 + 5},
	}
	for _, bad := range []struct {
		text string
		at   int // place of the byte that no valid text could have there
	}{
		{"\x80", 0}, {"\xbf", 0}, {"a\xc0\x80", 1}, {"a\xc1\xbf", 1}, {"\xf5", 0}, {"\xff", 0},
		{"\xe0\x9f\xbf", 1}, {"\xed\xa0\x80", 1}, {"\xed\xbf\xbf", 1}, {"\xf0\x8f\xbf\xbf", 1}, {"\xf4\x90\x80\x80", 1},
		{"\xc3a", 1}, {"\xe2\x82a", 2}, {"\xf0\x9f\x98a", 3}, {"\xc3\xc3", 1}, {strings.Repeat("x", 90) + "\xfc\x80", 90},
	} {
		all = append(all,
			vector{name: "8.1 bad bytes", input: masked(wholeText, bad.text+"tail"), code: 1007, section: "8.1", at: 7 + bad.at},
			vector{name: "8.1 bad bytes in a fragment", input: join(masked(firstText, "é"), masked(more, bad.text+"tail")),
				code: 1007, section: "8.1", at: 8 + 7 + bad.at})
	}
	return all
}
