package describe

import (
	"encoding/json"
	"math"
	"strconv"
	"unsafe"

	"github.com/labgate/labgate/protocol"
)

// A number above farLimit or below its reciprocal counts as farWeight values: the
// schema library calculates with exact fractions, whose digits grow with the
// exponent.
const (
	farLimit  = 1e30
	farWeight = 32
)

// reader makes values of a JSON text for the schema library: map[string]any,
// []any, string, float64, bool and nil. Unlike encoding/json it refuses two
// members of one name, because a device may take either of them, and counts the
// values. The text must be valid JSON.
type reader struct {
	text []byte
	i    int
	// values counts the values and the names of members; a number of an extreme
	// size counts as farWeight values. most bounds values.
	values, most int
}

// readValue returns the value of a text, and the number of values in it.
func readValue(text []byte, most int) (any, int, *PointerError) {
	r := reader{text: text, most: most}
	v, problem := r.value(0)
	return v, r.values, problem
}

func (r *reader) value(depth int) (any, *PointerError) {
	r.skipSpace()
	if r.values++; r.values > r.most {
		return nil, &PointerError{Problem: "more than " + strconv.Itoa(r.most) + " values in all; use fewer"}
	}
	if depth > protocol.MaxDepth {
		return nil, &PointerError{Problem: "nested deeper than " + strconv.Itoa(protocol.MaxDepth) + " levels; make it flatter"}
	}
	switch r.peek() {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		return r.string()
	case 't':
		r.i += len("true")
		return true, nil
	case 'f':
		r.i += len("false")
		return false, nil
	case 'n':
		r.i += len("null")
		return nil, nil
	default:
		return r.number()
	}
}

func (r *reader) object(depth int) (any, *PointerError) {
	v := make(map[string]any)
	for r.next('}') {
		name, problem := r.string()
		if problem != nil {
			return nil, problem
		}
		r.values++
		r.skipSpace()
		r.i++ // the colon
		if _, twice := v[name]; twice {
			return nil, (&PointerError{Problem: "a second member of this name; each name is allowed once"}).within(name)
		}
		member, problem := r.value(depth + 1)
		if problem != nil {
			return nil, problem.within(name)
		}
		v[name] = member
	}
	return v, nil
}

func (r *reader) array(depth int) (any, *PointerError) {
	v := []any{}
	for r.next(']') {
		item, problem := r.value(depth + 1)
		if problem != nil {
			return nil, problem.within(strconv.Itoa(len(v)))
		}
		v = append(v, item)
	}
	return v, nil
}

// next skips the opening bracket or the comma before the next part of an object
// or array. False: the closing bracket was there, or the text has ended.
func (r *reader) next(closing byte) bool {
	r.skipSpace()
	if c := r.peek(); c == closing || c == 0 {
		r.i++
		return false
	}
	r.i++
	r.skipSpace()
	if r.peek() == closing { // {} or []
		r.i++
		return false
	}
	return true
}

// string reads a string. The text between the quotes is copied: the value may
// live longer than the text.
func (r *reader) string() (string, *PointerError) {
	begin := r.i
	escaped := false
	for r.i++; r.i < len(r.text) && r.text[r.i] != '"'; r.i++ {
		if r.text[r.i] == '\\' {
			escaped = true
			r.i++
		}
	}
	r.i++
	if r.i > len(r.text) {
		return "", &PointerError{Problem: "the text ends inside a string"}
	}
	if !escaped {
		return string(r.text[begin+1 : r.i-1]), nil
	}
	var s string
	if err := json.Unmarshal(r.text[begin:r.i], &s); err != nil {
		return "", &PointerError{Problem: "is no JSON string"}
	}
	return s, nil
}

func (r *reader) number() (any, *PointerError) {
	begin := r.i
	for r.i < len(r.text) && isNumberByte(r.text[r.i]) {
		r.i++
	}
	digits := r.text[begin:r.i]
	if len(digits) == 0 {
		return nil, &PointerError{Problem: "a JSON value is expected here"}
	}
	// ParseFloat does not keep the string.
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(digits), len(digits)), 64)
	if err != nil {
		return nil, &PointerError{Problem: "the number does not fit into 64 bits (IEEE 754); use a smaller one"}
	}
	if isFar(v) {
		r.values += farWeight
	}
	return v, nil
}

// isFar reports whether a number is so large or so small that calculating with it
// takes long.
func isFar(v float64) bool {
	v = math.Abs(v)
	return v != 0 && (v > farLimit || v < 1/farLimit)
}

func isNumberByte(c byte) bool {
	return c-'0' <= 9 || c == '-' || c == '+' || c == '.' || c|0x20 == 'e'
}

// peek returns the next byte, 0 at the end of the text.
func (r *reader) peek() byte {
	if r.i >= len(r.text) {
		return 0
	}
	return r.text[r.i]
}

func (r *reader) skipSpace() {
	for r.i < len(r.text) && (r.text[r.i] == ' ' || r.text[r.i] == '\n' || r.text[r.i] == '\r' || r.text[r.i] == '\t') {
		r.i++
	}
}
