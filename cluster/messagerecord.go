package cluster

import (
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// Flags of a message's record.
const (
	flagUrgent = 1 << iota
	flagSession
	flagSender
	knownFlags = flagUrgent | flagSession | flagSender
)

// appendMessage appends a message as a record: u8 kind, u8 flags, timeout,
// count, corr, the 16 bytes of session and sender if the flags say so, name, id,
// device, code, and the text up to the end.
func appendMessage(b []byte, m *federation.Message) []byte {
	begin := len(b)
	b = beginRecord(b, recordMessage)
	var flags byte
	if m.Urgent {
		flags |= flagUrgent
	}
	if m.Session != (uuid.UUID{}) {
		flags |= flagSession
	}
	if m.Sender != (uuid.UUID{}) {
		flags |= flagSender
	}
	b = append(b, byte(m.Kind), flags)
	b = binary.AppendUvarint(b, uint64(m.TimeoutMS))
	b = binary.AppendUvarint(b, uint64(m.Count))
	b = binary.AppendUvarint(b, m.Corr)
	if flags&flagSession != 0 {
		b = append(b, m.Session[:]...)
	}
	if flags&flagSender != 0 {
		b = append(b, m.Sender[:]...)
	}
	b = appendString(b, m.Name)
	b = appendString(b, m.ID)
	b = appendString(b, m.Device)
	b = appendString(b, string(m.Code))
	return endRecord(append(b, m.Text...), begin)
}

// messageSize is how many bytes appendMessage appends at most.
func messageSize(m *federation.Message) int {
	return recordHeader + 2 + 2*binary.MaxVarintLen32 + 5*binary.MaxVarintLen64 + 2*len(m.Session) +
		len(m.Name) + len(m.ID) + len(m.Device) + len(m.Code) + len(m.Text)
}

// readMessage reads the body of a message's record. The strings and the text that it
// sets share the body's memory.
func readMessage(r reader, m *federation.Message) error {
	m.Kind = federation.Kind(r.byte())
	flags := r.byte()
	m.Urgent = flags&flagUrgent != 0
	m.TimeoutMS = r.uint32()
	m.Count = r.uint32()
	m.Corr = r.uvarint()
	m.Session, m.Sender = uuid.UUID{}, uuid.UUID{}
	if flags&flagSession != 0 {
		r.uuid(&m.Session)
	}
	if flags&flagSender != 0 {
		r.uuid(&m.Sender)
	}
	m.Name = r.string()
	m.ID = r.string()
	m.Device = r.string()
	m.Code = protocol.ErrorCode(r.string())
	m.Text = r.rest()
	if r.bad || flags&^knownFlags != 0 || m.Kind == 0 || len(m.Text) > maxText {
		return errMalformed
	}
	return nil
}

func (r *reader) uuid(id *uuid.UUID) {
	if len(r.s) < len(id) {
		r.fail()
		return
	}
	copy(id[:], r.s)
	r.s = r.s[len(id):]
}
