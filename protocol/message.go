package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Message is a text message that is built, or that a client has decoded. The gateway
// forwards messages as an [Envelope]. Zero values are absent fields.
type Message struct {
	Type      string          `json:"type"`                 // dotted lower-case words, required
	ID        string          `json:"id,omitempty"`         // asks for an answer; at most MaxIDLen bytes
	Re        string          `json:"re,omitempty"`         // the id answered
	Src       string          `json:"src,omitempty"`        // set by the gateway on everything it forwards
	Dst       string          `json:"dst,omitempty"`        // see ParseDestination
	TS        int64           `json:"ts,omitempty"`         // microseconds since 1970
	Urgent    bool            `json:"urgent,omitempty"`     // ahead of everything queued for the receiver
	TimeoutMS int             `json:"timeout_ms,omitempty"` // milliseconds, at most MaxTimeoutMS
	Payload   json.RawMessage `json:"payload,omitempty"`    // any JSON value, sent byte for byte
}

// NewMessage makes a message of a type with a payload: nil for none, a
// json.RawMessage as it is, anything else by encoding/json. It fails if the
// type is malformed (a *FieldError) or the payload cannot be encoded.
func NewMessage(typ string, payload any) (Message, error) {
	m := Message{Type: typ}
	if err := checkType(typ); err != nil {
		return Message{}, err
	}
	switch p := payload.(type) {
	case nil:
	case json.RawMessage:
		m.Payload = p
	default:
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(payload); err != nil {
			return Message{}, &FieldError{"payload", "cannot be encoded: " + err.Error()}
		}
		m.Payload = bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	}
	return m, nil
}

// Append appends the message as JSON text to dst, which Envelope.Parse accepts. If a
// field exceeds a limit Append returns dst unchanged and a *FieldError.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return dst, err
	}
	dst = appendString(append(dst, '{'), `"type":"`, m.Type)
	dst = appendString(dst, `,"id":"`, m.ID)
	dst = appendString(dst, `,"re":"`, m.Re)
	dst = appendString(dst, `,"src":"`, m.Src)
	dst = appendString(dst, `,"dst":"`, m.Dst)
	if m.TS != 0 {
		dst = strconv.AppendInt(append(dst, `,"ts":`...), m.TS, 10)
	}
	if m.Urgent {
		dst = append(dst, `,"urgent":true`...)
	}
	if m.TimeoutMS != 0 {
		dst = strconv.AppendInt(append(dst, `,"timeout_ms":`...), int64(m.TimeoutMS), 10)
	}
	if len(m.Payload) != 0 {
		dst = append(append(dst, `,"payload":`...), m.Payload...)
	}
	return append(dst, '}'), nil
}

// Message returns a copy of the envelope's fields that owns its memory.
func (e *Envelope) Message() Message {
	return Message{
		Type: string(e.Type), ID: string(e.ID), Re: string(e.Re), Src: string(e.Src), Dst: string(e.Dst),
		TS: e.TS, Urgent: e.Urgent, TimeoutMS: e.TimeoutMS, Payload: bytes.Clone(e.Payload),
	}
}

func (m *Message) check() error {
	if err := checkType(m.Type); err != nil {
		return err
	}
	for _, s := range [...]struct {
		field field
		value string
		most  int
	}{{fieldID, m.ID, MaxIDLen}, {fieldRe, m.Re, MaxIDLen}, {fieldSrc, m.Src, MaxNameLen}, {fieldDst, m.Dst, MaxDstLen}} {
		if s.value == "" {
			continue
		}
		if fault := tokenFault(s.value, s.most); fault != "" {
			return fieldError(s.field, fault)
		}
	}
	if m.TS < -MaxTS || m.TS > MaxTS {
		return fieldError(fieldTS, strconv.FormatInt(m.TS, 10)+" is out of range; send microseconds since 1970")
	}
	if m.TimeoutMS < 0 || m.TimeoutMS > MaxTimeoutMS {
		return fieldError(fieldTimeoutMS, strconv.Itoa(m.TimeoutMS)+" is out of range; send milliseconds from 1 to "+strconv.Itoa(MaxTimeoutMS))
	}
	return checkPayload(m.Payload)
}

// checkPayload checks that the payload is exactly one JSON value, so that it cannot
// add fields to the envelope.
func checkPayload(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if !utf8.Valid(b) {
		return fieldError(fieldPayload, "is not UTF-8; encode bytes as base64")
	}
	i, p := skipValue(b, skipSpace(b, 0), 1)
	if p != noProblem {
		return fieldError(fieldPayload, "at byte "+strconv.Itoa(i)+": "+problemText[p])
	}
	if i = skipSpace(b, i); i < len(b) {
		return fieldError(fieldPayload, "at byte "+strconv.Itoa(i)+": something follows the value; send one JSON value")
	}
	return nil
}

// appendString appends a member whose value needs no escapes, or nothing if it
// is empty.
func appendString(dst []byte, open, value string) []byte {
	if value == "" {
		return dst
	}
	return append(append(append(dst, open...), value...), '"')
}
