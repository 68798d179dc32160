package access

import (
	"bytes"
	"errors"
)

// utf8Mark is the byte-order mark that some editors write at the beginning of
// a file in UTF-8. It is no part of the text.
var utf8Mark = []byte("\uFEFF")

var errWideText = errors.New("is text in UTF-16 or UTF-32; save the file as UTF-8")

// DecodeText returns the content of a text file in UTF-8 without the
// byte-order mark at its beginning. Text in UTF-16 or UTF-32 is an error, which
// says how to save the file.
func DecodeText(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) || isWideText(data) {
		return nil, errWideText
	}
	return bytes.TrimPrefix(data, utf8Mark), nil
}

// isWideText reports whether data is ASCII text in UTF-16 or UTF-32, with or
// without a byte-order mark: only every second or fourth byte is not zero. The
// beginning of the data is enough to tell.
func isWideText(data []byte) bool {
	for _, mark := range [...][]byte{{0xff, 0xfe, 0, 0}, {0, 0, 0xfe, 0xff}, {0xff, 0xfe}, {0xfe, 0xff}} {
		if rest, found := bytes.CutPrefix(data, mark); found {
			data = rest
			break
		}
	}
	data = data[:min(len(data), 256)&^1]
	return len(data) >= 4 && (isWideASCII(data, 0) || isWideASCII(data, 1))
}

// isWideASCII reports whether all characters are in the bytes at even (0) or at
// odd (1) positions, and all other bytes are zero.
func isWideASCII(data []byte, parity int) bool {
	characters := 0
	for i, c := range data {
		switch {
		case c == 0:
		case i&1 == parity && (c >= ' ' && c <= '~' || c == '\t' || c == '\r' || c == '\n'):
			characters++
		default:
			return false
		}
	}
	return characters >= len(data)/4
}
