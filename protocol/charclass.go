package protocol

// Character classes of single bytes, for the checks that look at every byte.
const (
	classAlnum uint8 = 1 << iota // A-Z a-z 0-9
	className                    // what a device or user name may hold after its first byte
	classWord                    // what a word of "type" may hold
	classToken                   // printable ASCII that JSON shows as itself
	classPlain                   // a byte that a JSON string may hold as itself, ASCII or part of UTF-8
)

var charClass = func() (t [256]uint8) {
	for c := range t {
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		lower := c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
		if alnum {
			t[c] |= classAlnum
		}
		if alnum || c == '.' || c == '_' || c == ':' || c == '-' {
			t[c] |= className
		}
		if lower || c == '_' {
			t[c] |= classWord
		}
		if c >= ' ' && c != '"' && c != '\\' {
			t[c] |= classPlain
			if c < 0x7f {
				t[c] |= classToken
			}
		}
	}
	return t
}()
