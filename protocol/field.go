package protocol

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// field is one of the envelope's known fields.
type field uint8

const (
	fieldUnknown field = iota
	fieldType
	fieldID
	fieldRe
	fieldSrc
	fieldDst
	fieldTS
	fieldUrgent
	fieldTimeoutMS
	fieldPayload
)

var fieldNames = [...]string{
	fieldType: "type", fieldID: "id", fieldRe: "re", fieldSrc: "src", fieldDst: "dst",
	fieldTS: "ts", fieldUrgent: "urgent", fieldTimeoutMS: "timeout_ms", fieldPayload: "payload",
}

const longestFieldName = len("timeout_ms")

// fieldSet is a set of fields, one bit each.
type fieldSet uint16

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }
func (s *fieldSet) add(f field)     { *s |= 1 << f }

func fieldNamed(name []byte) field {
	switch string(name) {
	case "type":
		return fieldType
	case "id":
		return fieldID
	case "re":
		return fieldRe
	case "src":
		return fieldSrc
	case "dst":
		return fieldDst
	case "ts":
		return fieldTS
	case "urgent":
		return fieldUrgent
	case "timeout_ms":
		return fieldTimeoutMS
	case "payload":
		return fieldPayload
	}
	return fieldUnknown
}

// scanField checks the value at raw[i:] by the rules of its field and sets the
// field in e.
func (e *Envelope) scanField(f field, raw []byte, i int) (end int, err error) {
	if i >= len(raw) {
		return 0, syntaxError(len(raw), badEnd)
	}
	switch f {
	case fieldType:
		if e.Type, end, err = stringValue(f, raw, i); err == nil {
			err = checkType(e.Type)
		}
		if err != nil {
			e.Type = nil
		}
		return end, err
	case fieldID:
		e.ID, end, err = tokenValue(f, raw, i, MaxIDLen)
		return end, err
	case fieldRe:
		e.Re, end, err = tokenValue(f, raw, i, MaxIDLen)
		return end, err
	case fieldDst:
		e.Dst, end, err = tokenValue(f, raw, i, MaxDstLen)
		return end, err
	case fieldTS:
		e.TS, end, err = integerValue(f, raw, i, -MaxTS, MaxTS, "microseconds since 1970")
		return end, err
	case fieldTimeoutMS:
		var n int64
		n, end, err = integerValue(f, raw, i, 1, MaxTimeoutMS, "milliseconds")
		e.TimeoutMS = int(n)
		return end, err
	}
	end, p := skipValue(raw, i, 1)
	if p != noProblem {
		return 0, syntaxError(end, p)
	}
	switch f {
	case fieldPayload:
		e.Payload = raw[i:end:end]
	case fieldUrgent:
		switch raw[i] {
		case 't':
			e.Urgent = true
		case 'f', 'n':
		default:
			return 0, typeError(f, raw[i], "true or false")
		}
	case fieldSrc:
		if raw[i] == '"' {
			if s := raw[i+1 : end-1 : end-1]; tokenFault(s, MaxNameLen) == "" {
				e.Src = s
			}
		}
	}
	return end, nil
}

// stringValue reads a string and returns what is between its quotes.
func stringValue(f field, raw []byte, i int) ([]byte, int, error) {
	if raw[i] != '"' {
		return nil, 0, typeError(f, raw[i], "a string")
	}
	end, p := skipString(raw, i+1)
	if p != noProblem {
		return nil, 0, syntaxError(end, p)
	}
	return raw[i+1 : end-1 : end-1], end, nil
}

// tokenValue reads a string that is compared or copied byte for byte: 1 to most
// bytes, printable, without escapes. Null counts as absent.
func tokenValue(f field, raw []byte, i, most int) ([]byte, int, error) {
	if raw[i] == 'n' {
		end, err := nullValue(raw, i)
		return nil, end, err
	}
	s, end, err := stringValue(f, raw, i)
	if err != nil {
		return nil, 0, err
	}
	if fault := tokenFault(s, most); fault != "" {
		return nil, 0, fieldError(f, fault)
	}
	return s, end, nil
}

// nullValue reads the literal null.
func nullValue(raw []byte, i int) (end int, err error) {
	end, p := skipLiteral(raw, i, "null")
	if p != noProblem {
		return 0, syntaxError(end, p)
	}
	return end, nil
}

// tokenFault says why s is not acceptable to tokenValue; "" if it is.
func tokenFault[T string | []byte](s T, most int) string {
	if len(s) == 0 {
		return "empty; give it a value or leave the field out"
	}
	if len(s) > most {
		return tooLong(len(s), most)
	}
	for i := 0; i < len(s); i++ {
		if charClass[s[i]]&classToken == 0 {
			return tokenRuneFault([]byte(s[i:]))
		}
	}
	return ""
}

// tokenRuneFault is tokenFault for the rest of a text from its first byte that is
// not in classToken.
func tokenRuneFault(s []byte) string {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		switch {
		case r == '\\' || r == '"':
			return "holds an escape or a quote; use characters that JSON writes as themselves"
		case r == utf8.RuneError && size == 1:
			return "is not UTF-8; use printable characters"
		case !unicode.IsPrint(r):
			return "holds " + strconv.QuoteRuneToASCII(r) + ", which is not printable; use printable characters"
		}
		s = s[size:]
	}
	return ""
}

// checkType checks a type: dotted words of lower-case letters, digits and _.
func checkType[T string | []byte](s T) error {
	if len(s) > MaxTypeLen {
		return fieldError(fieldType, tooLong(len(s), MaxTypeLen))
	}
	word := false // whether the byte before belongs to a word
	for i := 0; i < len(s); i++ {
		if charClass[s[i]]&classWord != 0 {
			word = true
		} else if s[i] == '.' && word {
			word = false
		} else {
			word = false
			break
		}
	}
	if !word {
		return fieldError(fieldType, quoteShort([]byte(s))+" is not dotted lower-case words; write it like test.start, with a-z, 0-9 and _")
	}
	return nil
}

// maxIntegerDigits is the number of digits of MaxTS, the largest limit of all
// fields. A number of so many digits fits into an int64.
const maxIntegerDigits = 16

// integerValue reads an integer written with digits only: 1e3 and 1.0 are
// integers to some decoders and not to others. Null counts as absent and gives 0.
func integerValue(f field, raw []byte, i int, least, most int64, unit string) (int64, int, error) {
	c := raw[i]
	if c == 'n' {
		end, err := nullValue(raw, i)
		return 0, end, err
	}
	if c != '-' && !isDigit(c) {
		return 0, 0, typeError(f, c, "an integer ("+unit+")")
	}
	end := i
	if c == '-' {
		end++
	}
	first := end
	var n int64
	for ; end < len(raw) && isDigit(raw[end]); end++ {
		n = n*10 + int64(raw[end]-'0') // may overflow, see below
	}
	if end == first || raw[first] == '0' && end > first+1 || end < len(raw) && (raw[end] == '.' || raw[end]|0x20 == 'e') {
		end, p := skipNumber(raw, i)
		if p != noProblem {
			return 0, 0, syntaxError(end, p)
		}
		return 0, 0, fieldError(f, quoteShort(raw[i:end])+" is not written as an integer; send "+unit+" as digits only, rounded")
	}
	if c == '-' {
		n = -n
	}
	if n < least || n > most || end-first > maxIntegerDigits {
		return 0, 0, fieldError(f, quoteShort(raw[i:end])+" is out of range; send "+unit+" from "+
			strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return n, end, nil
}

// fieldAlike returns the known field for which a lenient decoder may take name,
// although the spelling differs: in escapes, in letter case (also with non-ASCII
// letters that fold to ASCII), or from a NUL on, where a string ends in C.
func fieldAlike(name []byte) field {
	for i := 0; ; i++ {
		if i == len(name) {
			return fieldUnknown // nothing to fold
		}
		if c := name[i]; c == '\\' || c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			break
		}
	}
	var folded [longestFieldName]byte
	n := 0
	for len(name) > 0 {
		r, size := decodeRune(name)
		name = name[size:]
		if r == 0 {
			break
		}
		low := unicode.ToLower(r)
		if low >= utf8.RuneSelf {
			low = unicode.ToLower(unicode.ToUpper(r))
		}
		if low >= utf8.RuneSelf || n == len(folded) {
			return fieldUnknown
		}
		folded[n] = byte(low)
		n++
	}
	return fieldNamed(folded[:n])
}

// decodeRune returns the first character of a valid JSON string, which may be an
// escape, and its size in the text.
func decodeRune(s []byte) (rune, int) {
	if s[0] != '\\' {
		return utf8.DecodeRune(s)
	}
	if s[1] != 'u' {
		return '\\', 2 // an escape like \n is no letter; any other non-letter will do
	}
	var r rune
	for _, c := range s[2:6] {
		r = r<<4 | rune(hexValue(c))
	}
	return r, 6
}

func fieldError(f field, problem string) error {
	return &FieldError{Field: fieldNames[f], Problem: problem}
}

func spellingError(f field, name []byte) error {
	return fieldError(f, "spelled "+quoteShort(name)+"; write "+fieldNames[f]+" exactly so, in lower case and without escapes")
}

func tooLong(n, most int) string {
	return strconv.Itoa(n) + " bytes, at most " + strconv.Itoa(most) + " allowed; shorten it"
}

func typeError(f field, c byte, want string) error {
	var found string
	switch c {
	case '"':
		found = "a string"
	case '{':
		found = "an object"
	case '[':
		found = "an array"
	case 't', 'f':
		found = "a boolean"
	case 'n':
		found = "null"
	default:
		found = "a number"
		if c != '-' && !isDigit(c) {
			found = "no JSON value"
		}
	}
	advice := "; send that or leave the field out"
	if f == fieldType {
		advice = "; send that"
	}
	return fieldError(f, found+" where "+want+" is expected"+advice)
}
