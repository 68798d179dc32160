package cluster

import (
	"encoding/binary"

	"github.com/labgate/labgate/router/federation"
)

// Changes of a node's state as records. Each begins with the number of the change,
// or with 0 in a snapshot.

func appendHold(b []byte, seq uint64, h *federation.Holding) []byte {
	begin := len(b)
	b = beginRecord(b, recordHold)
	b = binary.AppendUvarint(b, seq)
	b = appendString(b, h.Device)
	b = binary.AppendUvarint(b, h.Epoch)
	b = appendString(b, h.Type)
	b = appendString(b, h.Customer)
	b = appendString(b, h.Description)
	b = appendRange(b, &h.At)
	b = binary.AppendUvarint(b, uint64(len(h.Meta)))
	for name, value := range h.Meta {
		b = appendString(b, name)
		b = appendString(b, value)
	}
	return endRecord(b, begin)
}

func (r *reader) holding() (h federation.Holding) {
	h.Device, h.Epoch, h.Type, h.Customer, h.Description = r.string(), r.uvarint(), r.string(), r.string(), r.string()
	r.sampleRange(&h.At)
	n := r.uvarint()
	if n > maxMeta {
		r.fail()
		return h
	}
	if n > 0 {
		h.Meta = make(map[string]string, n)
	}
	for range n {
		name := r.string()
		h.Meta[name] = r.string()
	}
	return h
}

func appendRelease(b []byte, seq uint64, rel *federation.Release) []byte {
	begin := len(b)
	b = beginRecord(b, recordRelease)
	b = binary.AppendUvarint(b, seq)
	b = appendString(b, rel.Device)
	b = binary.AppendUvarint(b, rel.Epoch)
	b = appendString(b, rel.Reason)
	b = appendRange(b, &rel.Begin)
	return endRecord(appendRange(b, &rel.End), begin)
}

func (r *reader) release() (rel federation.Release) {
	rel.Device, rel.Epoch, rel.Reason = r.string(), r.uvarint(), r.string()
	r.sampleRange(&rel.Begin)
	r.sampleRange(&rel.End)
	return rel
}

func appendUser(b []byte, seq uint64, user string, here bool) []byte {
	begin := len(b)
	b = beginRecord(b, recordUser)
	b = binary.AppendUvarint(b, seq)
	b = appendString(b, user)
	return endRecord(appendBool(b, here), begin)
}

// appendInterest appends a node's interest in a device's telemetry: the number of
// its subscription, or 0 for none. A node that was cut off subscribes again with
// another number, so the others know that it may have missed something.
func appendInterest(b []byte, seq uint64, device string, subscription uint64) []byte {
	begin := len(b)
	b = beginRecord(b, recordInterest)
	b = binary.AppendUvarint(b, seq)
	b = appendString(b, device)
	return endRecord(binary.AppendUvarint(b, subscription), begin)
}

// appendNumbers appends a record of numbers and a name.
func appendNumbers(b []byte, kind recordKind, name string, numbers ...uint64) []byte {
	begin := len(b)
	b = beginRecord(b, kind)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	if name != "" {
		b = appendString(b, name)
	}
	return endRecord(b, begin)
}
