package wsframe

import "unicode/utf8"

// checkText checks the beginning of a text. complete is the number of bytes that
// are whole characters; the up to 3 bytes after them are the beginning of another
// character. ok is false if no continuation can make the text valid (RFC 6455, 8.1).
func checkText(b []byte) (complete int, ok bool) {
	complete = len(b)
	for i := len(b) - 1; i >= 0 && i >= len(b)-(utf8.UTFMax-1); i-- {
		if utf8.RuneStart(b[i]) {
			// For FullRune an encoding that cannot become valid is full.
			if !utf8.FullRune(b[i:]) {
				complete = i
			}
			break
		}
	}
	return complete, utf8.Valid(b[:complete])
}
