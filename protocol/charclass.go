package protocol

// Classes of bytes, one bit each.
const (
	classAlnum uint8 = 1 << iota // A-Z a-z 0-9
	className                    // allowed in a device or user name after the first byte
	classWord                    // allowed in a word of "type"
	classToken                   // printable ASCII that needs no escape in JSON
	classPlain                   // needs no escape in a JSON string: ASCII or a part of UTF-8
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
