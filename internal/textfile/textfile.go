// Package textfile decodes files that people write with editors: configuration,
// credentials and certificates.
package textfile

import (
	"bytes"
	"errors"
)

// Mark is the byte-order mark that some editors write at the beginning of a file
// in UTF-8. It is no part of the text.
const Mark = "\uFEFF"

// ErrWide is the error of Decode.
var ErrWide = errors.New("is text in UTF-16 or UTF-32; save the file as UTF-8")

// Decode returns the content of a text file in UTF-8 without the
// byte-order mark at its beginning. For text in UTF-16 or UTF-32 the error is
// ErrWide, which says how to save the file.
func Decode(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) || IsWide(data) {
		return nil, ErrWide
	}
	return bytes.TrimPrefix(data, []byte(Mark)), nil
}

// IsWide reports whether data is ASCII text in UTF-16 or UTF-32, with or
// without a byte-order mark: only every second or fourth byte is not zero. The
// beginning of the data is enough to tell.
func IsWide(data []byte) bool {
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
