package access

import (
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

const (
	// MaxPatternLen bounds a pattern in bytes. It is that of a device id: a
	// longer pattern of which nothing is a star could match none.
	MaxPatternLen = protocol.MaxNameLen
	// MaxPatterns bounds the patterns of one credential.
	MaxPatterns = 64
)

// Pattern is a glob over device ids: a star stands for any number of
// characters, also none; every other character stands for itself, in that
// letter case. A pattern matches the whole id: "press-1" does not match
// "press-10", "tensile-*" matches "tensile-" and "tensile-3.left". There are no
// other wildcards.
type Pattern string

// ParsePattern checks that s is 1 to [MaxPatternLen] characters of a device id
// or stars. The error does not repeat s.
func ParsePattern(s string) (Pattern, error) {
	if len(s) == 0 || len(s) > MaxPatternLen {
		return "", fmt.Errorf("a pattern of %d characters, 1 to %d allowed; write a device id in which * stands for any characters", len(s), MaxPatternLen)
	}
	for i := range len(s) {
		if c := s[i]; c != '*' && !nameByte(c) {
			return "", fmt.Errorf("character %d of a pattern is not allowed; use letters, digits and . _ : - as in device ids, and * for any characters", i+1)
		}
	}
	return Pattern(s), nil
}

// Match reports whether the pattern matches the whole of the device id. It
// takes the first place where each piece between two stars fits and never
// comes back to it: what a later place would leave to the rest is part of what
// the first leaves. So it passes over the id once, for any pattern.
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

// nameByte reports whether c may be in a name (protocol.ValidName).
func nameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == ':' || c == '-'
}
