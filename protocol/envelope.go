package protocol

import (
	"unicode/utf8"
)

// Envelope is a parsed text message: the fields that the gateway routes by, as
// slices of the text. It is valid as long as the text is unchanged, keeps the text
// in memory, and may be used again for the next message.
type Envelope struct {
	Type      []byte // dotted lower-case words
	ID        []byte // nil when absent; else 1 to 64 printable bytes
	Re        []byte // nil when absent; else 1 to 64 printable bytes
	Src       []byte // what the sender claims; nil when absent or nothing a gateway would write; never to be trusted
	Dst       []byte // nil when absent; else 1 to 200 printable bytes, for ParseDestination
	Payload   []byte // the raw JSON value; nil when absent
	TS        int64  // microseconds since 1970, within ±MaxTS; 0 when absent
	Urgent    bool
	TimeoutMS int // milliseconds, 1 to MaxTimeoutMS; 0 when absent

	raw   []byte // nil unless Parse succeeded
	body  int    // index in raw after the opening brace
	edits [3]edit
	n     int // edits in use, in the order of the text
}

// edit is a part of the text that a splice removes (src) or may replace (the value
// of id or re).
type edit struct {
	field    field
	null     bool // the value is null: what replaces it needs quotes
	from, to int
}

// Parse scans one text message and checks all of it: UTF-8, strict JSON (RFC
// 8259) that is one object, at most MaxDepth levels, and the fields of the
// envelope with their types and limits. It allocates only to make an error.
//
// Strings of the envelope must be written without escapes, and field names exactly
// and once. A receiver that ignores case or takes the last of two fields, as many
// JSON decoders do, would otherwise read another message than the gateway routed,
// with a "src" of the sender's choice. An optional field whose value is
// null counts as absent; "payload" is the exception, since null is a value like
// any other there. Unknown fields may hold anything. The value of "src" may be
// anything too, as it is always replaced.
//
// The error is a *FieldError or a *SyntaxError. The fields in front of the fault are
// set nevertheless, so that an answer can name the ID; the envelope cannot be
// spliced.
func (e *Envelope) Parse(raw []byte) error {
	*e = Envelope{}
	if !utf8.Valid(raw) {
		return utf8Error(raw)
	}
	i := skipSpace(raw, 0)
	if i >= len(raw) {
		return syntaxError(len(raw), badEnd)
	}
	if raw[i] != '{' {
		return syntaxError(i, badStart)
	}
	i++
	e.body = i
	var seen fieldSet
	var p problem
	var err error
	for comma := -1; ; { // the comma before the member, -1 for the first
		i = skipSpace(raw, i)
		if i >= len(raw) {
			return syntaxError(len(raw), badEnd)
		}
		if raw[i] != '"' {
			if raw[i] == '}' && comma < 0 {
				break
			}
			return syntaxError(i, badName)
		}
		start := i + 1
		if i, p = skipString(raw, start); p != noProblem {
			return syntaxError(i, p)
		}
		name := raw[start : i-1]
		if i, p = skipColon(raw, i); p != noProblem {
			return syntaxError(i, p)
		}
		f := fieldNamed(name)
		if f == fieldUnknown {
			if alike := fieldAlike(name); alike != fieldUnknown {
				return spellingError(alike, name)
			}
		} else if seen.has(f) {
			return fieldError(f, "appears twice; send it once")
		}
		seen.add(f)
		value := i
		if i, err = e.scanField(f, raw, i); err != nil {
			return err
		}
		end := i
		i = skipSpace(raw, i)
		if i >= len(raw) {
			return syntaxError(len(raw), badEnd)
		}
		switch f {
		case fieldSrc: // goes with the comma before it, as the first member with the one after
			if comma < 0 {
				e.addEdit(edit{field: f, from: e.body, to: i + 1})
			} else {
				e.addEdit(edit{field: f, from: comma, to: end})
			}
		case fieldID, fieldRe:
			if raw[value] == '"' {
				e.addEdit(edit{field: f, from: value + 1, to: end - 1})
			} else {
				e.addEdit(edit{field: f, null: true, from: value, to: end})
			}
		}
		if raw[i] == '}' {
			break
		}
		if raw[i] != ',' {
			return syntaxError(i, badObjectNext)
		}
		comma = i
		i++
	}
	if i = skipSpace(raw, i+1); i < len(raw) {
		return syntaxError(i, badTrailing)
	}
	if e.Type == nil {
		return fieldError(fieldType, `missing; say what the message is, like "type":"test.start"`)
	}
	e.raw = raw
	return nil
}

func (e *Envelope) addEdit(ed edit) {
	e.edits[e.n] = ed
	e.n++
}

func utf8Error(raw []byte) error {
	i := 0
	for i < len(raw) {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return &SyntaxError{Offset: i, Problem: "a byte that is not UTF-8; send text as UTF-8 and bytes as base64"}
}
