package wsframe

import "unicode/utf8"

// checkText checks a part of a text message that more may follow. complete is
// how many bytes are whole characters; the at most 3 bytes after them begin a
// character that can still become valid. ok is false as soon as no
// continuation could make the text valid (RFC 6455, 8.1).
func checkText(b []byte) (complete int, ok bool) {
	complete = len(b)
	for i := len(b) - 1; i >= 0 && i >= len(b)-(utf8.UTFMax-1); i-- {
		if utf8.RuneStart(b[i]) {
			// FullRune counts an encoding that cannot become valid as full.
			if !utf8.FullRune(b[i:]) {
				complete = i
			}
			break
		}
	}
	return complete, utf8.Valid(b[:complete])
}
