package protocol

import (
	"encoding/binary"
	"math/bits"
)

// The scanner checks JSON text (RFC 8259) in place. Each function starts at index i
// of b and returns the index after what it read; with a problem other than
// noProblem it returns the index of the fault. The whole message was checked for
// UTF-8 before, so that bytes from 0x80 on need no check.

// problem says what is wrong with a text. It is a number and not an error, so that
// the scanner's results stay in registers.
type problem uint8

const (
	noProblem problem = iota
	badEnd
	badValue
	badName
	badColon
	badObjectNext
	badArrayNext
	badControl
	badEscape
	badHex
	badNumber
	badDepth
	badStart
	badTrailing
)

var problemText = [...]string{
	badEnd:        "the text ends inside the message; send the whole object in one message",
	badValue:      "a JSON value is expected here",
	badName:       "a field name in double quotes is expected here",
	badColon:      "a colon is expected here",
	badObjectNext: "a comma or } is expected here",
	badArrayNext:  "a comma or ] is expected here",
	badControl:    "a control character in a string; write it as an escape",
	badEscape:     `an unknown escape in a string; after a backslash come only " \ / b f n r t u`,
	badHex:        `four hexadecimal digits are expected after \u`,
	badNumber:     "a digit is expected here; a number is written like -12.5e3, without leading zeros",
	badDepth:      "objects and arrays nested deeper than 64 levels; make the payload flatter",
	badStart:      "a message is one JSON object; start it with {",
	badTrailing:   "something follows the object; send one object a message",
}

func syntaxError(offset int, p problem) error {
	return &SyntaxError{Offset: offset, Problem: problemText[p]}
}

// skipValue reads the value that starts at i, inside outer open objects and arrays.
// The kinds of the objects and arrays that are open fit into the bits of one word,
// because MaxDepth is 64; so skipValue needs no recursion.
func skipValue(b []byte, i, outer int) (int, problem) {
	var objects uint64 // lowest bit: whether the innermost open one is an object
	open := 0
	name := false // whether a member's name comes next, not a value
	var p problem
	for {
		if i >= len(b) {
			return len(b), badEnd
		}
		c := b[i]
		if c == '"' {
			if i, p = skipString(b, i+1); p != noProblem {
				return i, p
			}
			if name {
				name = false
				i = skipSpace(b, i)
				if i >= len(b) {
					return len(b), badEnd
				}
				if b[i] != ':' {
					return i, badColon
				}
				i = skipSpace(b, i+1)
				continue
			}
		} else if name {
			return i, badName
		} else if c == '{' || c == '[' {
			if outer+open >= MaxDepth {
				return i, badDepth
			}
			i = skipSpace(b, i+1)
			name = c == '{'
			if i >= len(b) || b[i] != c+2 { // the closing one: '{'+2 is '}', '['+2 is ']'
				objects <<= 1
				if name {
					objects |= 1
				}
				open++
				continue
			}
			name = false
			i++
		} else {
			switch {
			case c == '-' || isDigit(c):
				i, p = skipNumber(b, i)
			case c == 't':
				i, p = skipLiteral(b, i, "true")
			case c == 'f':
				i, p = skipLiteral(b, i, "false")
			case c == 'n':
				i, p = skipLiteral(b, i, "null")
			default:
				return i, badValue
			}
			if p != noProblem {
				return i, p
			}
		}
		// A value has ended: close what ends with it and go to the next one.
		for {
			if open == 0 {
				return i, noProblem
			}
			i = skipSpace(b, i)
			if i >= len(b) {
				return len(b), badEnd
			}
			if b[i] == ',' {
				i = skipSpace(b, i+1)
				name = objects&1 != 0
				break
			}
			if objects&1 != 0 {
				if b[i] != '}' {
					return i, badObjectNext
				}
			} else if b[i] != ']' {
				return i, badArrayNext
			}
			i++
			objects >>= 1
			open--
		}
	}
}

// skipColon reads the colon after a name with the space around it.
func skipColon(b []byte, i int) (int, problem) {
	if i = skipSpace(b, i); i >= len(b) {
		return len(b), badEnd
	}
	if b[i] != ':' {
		return i, badColon
	}
	return skipSpace(b, i+1), noProblem
}

const (
	each01 = 0x0101010101010101
	each80 = 0x8080808080808080
)

// skipString reads a string from the byte after its opening quote. It searches
// eight bytes at a time for a quote, a backslash or a control character. A loop over
// single bytes is slower also for short names, because the CPU mispredicts its
// last branch.
func skipString(b []byte, i int) (int, problem) {
	for i+8 <= len(b) {
		found := special(binary.LittleEndian.Uint64(b[i:]))
		if found == 0 {
			i += 8
			// Long strings go by fours.
			for i+32 <= len(b) && special(binary.LittleEndian.Uint64(b[i:]))|special(binary.LittleEndian.Uint64(b[i+8:]))|
				special(binary.LittleEndian.Uint64(b[i+16:]))|special(binary.LittleEndian.Uint64(b[i+24:])) == 0 {
				i += 32
			}
			continue
		}
		i += bits.TrailingZeros64(found) >> 3
		if b[i] == '"' {
			return i + 1, noProblem
		}
		var p problem
		if i, p = skipEscape(b, i); p != noProblem {
			return i, p
		}
	}
	for i < len(b) {
		switch {
		case b[i] == '"':
			return i + 1, noProblem
		case charClass[b[i]]&classPlain != 0:
			i++
		default:
			var p problem
			if i, p = skipEscape(b, i); p != noProblem {
				return i, p
			}
		}
	}
	return len(b), badEnd
}

// special sets the top bit of the lowest byte of w that is a quote, a backslash or a
// control character, and perhaps bits above it. 0 means that there is none.
func special(w uint64) uint64 {
	// For a byte x below 0x80, x-n has the top bit set if x < n. Flipping bit 1
	// makes the quote 0x20, next to the control characters, and moves no other
	// byte across that border. A borrow may set bits above the first byte found,
	// never below it.
	return (((w ^ 2*each01) - 0x21*each01) | ((w ^ '\\'*each01) - each01)) &^ w & each80
}

// skipEscape reads an escape, or reports a control character. Any four hexadecimal
// digits make a \u escape: lone surrogates pass, as in encoding/json.
func skipEscape(b []byte, i int) (int, problem) {
	if b[i] != '\\' {
		return i, badControl
	}
	if i+1 >= len(b) {
		return len(b), badEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, noProblem
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if k >= len(b) {
				return len(b), badEnd
			}
			if hexValue(b[k]) < 0 {
				return k, badHex
			}
		}
		return i + 6, noProblem
	}
	return i + 1, badEscape
}

// skipNumber reads a number: an optional minus, digits without a leading zero,
// an optional fraction, an optional exponent.
func skipNumber(b []byte, i int) (int, problem) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
		if i < len(b) && isDigit(b[i]) {
			return i, badNumber
		}
	} else {
		var p problem
		if i, p = skipDigits(b, i); p != noProblem {
			return i, p
		}
	}
	if i < len(b) && b[i] == '.' {
		var p problem
		if i, p = skipDigits(b, i+1); p != noProblem {
			return i, p
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i, noProblem
}

// skipDigits reads one digit or more.
func skipDigits(b []byte, i int) (int, problem) {
	if i >= len(b) {
		return len(b), badEnd
	}
	if !isDigit(b[i]) {
		return i, badNumber
	}
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i, noProblem
}

func skipLiteral(b []byte, i int, word string) (int, problem) {
	if len(b)-i >= len(word) {
		if string(b[i:i+len(word)]) == word {
			return i + len(word), noProblem
		}
		return i, badValue
	}
	if string(b[i:]) == word[:len(b)-i] {
		return len(b), badEnd
	}
	return i, badValue
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// hexValue returns the value of a hexadecimal digit, -1 for another byte.
func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
