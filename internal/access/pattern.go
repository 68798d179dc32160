package access

import (
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

const (
	// maxPatternLen is the maximum length of a pattern in bytes. No device id
	// matches a longer pattern without a star.
	maxPatternLen = protocol.MaxNameLen
	// maxPatterns is the maximum number of patterns of one credential.
	maxPatterns = 64
)

// Pattern matches device ids. A star matches any number of characters, also
// none. Every other character matches itself, in the same letter case. A
// pattern matches the whole id: "press-1" does not match "press-10", and
// "tensile-*" matches "tensile-" and "tensile-3.left". There are no other
// wildcards.
type Pattern string

// parsePattern returns s as a pattern if it has 1 to [maxPatternLen] characters,
// each a star or allowed in device ids. The error does not quote s.
func parsePattern(s string) (Pattern, error) {
	if len(s) == 0 || len(s) > maxPatternLen {
		return "", fmt.Errorf("a pattern of %d characters, 1 to %d allowed; write a device id in which * stands for any characters", len(s), maxPatternLen)
	}
	for i := range len(s) {
		if c := s[i]; c != '*' && !nameByte(c) {
			return "", fmt.Errorf("character %d of a pattern is not allowed; use letters, digits and . _ : - as in device ids, and * for any characters", i+1)
		}
	}
	return Pattern(s), nil
}

// Match reports whether the pattern matches the device id. Each piece between
// two stars is taken at the first place where it fits. There is no backtracking:
// the first place leaves the longest rest of the id, so a later place never
// matches where the first does not. Match reads the id once, for any pattern.
func (p Pattern) Match(device string) bool {
	piece, rest, star := strings.Cut(string(p), "*")
	if !star {
		return device == piece
	}
	device, ok := strings.CutPrefix(device, piece)
	for ok {
		if piece, rest, star = strings.Cut(rest, "*"); !star {
			return strings.HasSuffix(device, piece)
		}
		_, device, ok = strings.Cut(device, piece)
	}
	return false
}

// nameByte reports whether c is allowed in a name (protocol.ValidName).
func nameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == ':' || c == '-'
}
