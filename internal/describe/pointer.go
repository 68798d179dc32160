package describe

import (
	"strconv"
	"strings"
)

// PointerError says which place of a JSON text is not acceptable, and what is
// allowed there.
type PointerError struct {
	Pointer string // JSON Pointer (RFC 6901); "" for the whole text
	Problem string // what is wrong, and what is allowed
	// rooted: Pointer begins at the top of the schema that a walker walks.
	rooted bool
}

// Error returns `at "/channels/0/unit": is a number; a string is allowed`.
func (e *PointerError) Error() string {
	if e.Pointer == "" {
		return e.Problem
	}
	return "at " + cut(e.Pointer, maxPointer) + ": " + e.Problem
}

// within puts a name or an index in front of the pointer.
func (e *PointerError) within(token string) *PointerError {
	if !e.rooted {
		e.Pointer = "/" + escapeToken(token) + e.Pointer
	}
	return e
}

func escapeToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}

func unescapeToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
}

// pointerTo returns the JSON Pointer of tokens.
func pointerTo(tokens ...string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escapeToken(token))
	}
	return b.String()
}

// lookUp returns the value at a pointer in a document, nil for none.
func lookUp(document any, pointer string) any {
	if pointer == "" {
		return document
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		switch v := document.(type) {
		case map[string]any:
			document = v[unescapeToken(token)]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			document = v[i]
		default:
			return nil
		}
	}
	return document
}

// maxQuoted and maxPointer bound the part of a foreign text and of a pointer that an
// error repeats, in bytes.
const (
	maxQuoted  = 80
	maxPointer = 400
)

// quoted returns a text in double quotes, cut at maxQuoted.
func quoted(s string) string { return cut(s, maxQuoted) }

func cut(s string, most int) string {
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}
