package cluster

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"

	"github.com/labgate/labgate/router/federation"
)

// A packet is what one PUBLISH carries:
//
//	u8 version, u32 node, u64 number, u64 sent
//
// all big-endian, and then records:
//
//	u8 kind, u32 length, length bytes
//
// The number counts the packets of the node on that channel, from 1. The time sent
// is in microseconds of the node's clock. A node skips records of a kind that it
// does not know, so that newer and older nodes can share an installation. In
// records a number is a uvarint (encoding/binary) and a string is its length and
// its bytes, unless stated otherwise.
const (
	packetVersion = 1
	headerSize    = 1 + 4 + 8 + 8
	recordHeader  = 1 + 4
)

// recordKind says what a record is.
type recordKind uint8

// Kinds of records.
const (
	recordProbe       recordKind = iota + 1 // empty: a node sends it to itself
	recordHeartbeat                         // seq of the latest change, name
	recordSyncRequest                       // time, seq that the node has, name
	recordSyncReply                         // time of the request, seq of the latest change, name
	recordLeaving                           // empty
	recordHold                              // seq, device, epoch, type, customer, version of the description, range (see appendRange), n, n × (name, value)
	recordRelease                           // seq, device, epoch, reason, range of the beginning, range of the end
	recordUser                              // seq, user, u8 here
	recordInterest                          // seq, device, number of the subscription, 0 for no interest
	recordSnapshot                          // seq: the records of changes with seq 0 that follow are the whole state
	recordSnapshotEnd                       // seq, number of records since the beginning
	recordMessage                           // see appendMessage
	recordTelemetry                         // range, frames
)

// noSnapshot in a sync request asks for a reply without a snapshot.
const noSnapshot = math.MaxUint64

// Limits of records. No node sends more.
const (
	maxText   = 32 << 20 // bytes of a message's text
	maxString = 1 << 10  // bytes of any other string
	maxMeta   = 64       // entries of Holding.Meta
)

var errMalformed = errors.New("malformed packet")

// header is the beginning of a packet.
type header struct {
	node   federation.NodeID
	number uint64
	sent   int64
}

// stamp writes the header into the first bytes of a packet.
func (h *header) stamp(packet []byte) {
	packet[0] = packetVersion
	binary.BigEndian.PutUint32(packet[1:], uint32(h.node))
	binary.BigEndian.PutUint64(packet[5:], h.number)
	binary.BigEndian.PutUint64(packet[13:], uint64(h.sent))
}

// parse reads a packet's header and returns its records.
func (h *header) parse(packet string) (records, error) {
	r := reader{s: packet}
	version := r.byte()
	h.node = federation.NodeID(r.fixed(4))
	h.number = r.fixed(8)
	h.sent = int64(r.fixed(8))
	if r.bad || version != packetVersion || h.node == 0 {
		return "", errMalformed
	}
	return records(r.s), nil
}

// records are the records of a packet, one after another.
type records string

// next returns the first record and removes it. ok is false at the end; err then
// says whether the packet was well-formed.
func (rs *records) next() (kind recordKind, body reader, ok bool, err error) {
	if *rs == "" {
		return 0, reader{}, false, nil
	}
	r := reader{s: string(*rs)}
	kind = recordKind(r.byte())
	n := r.fixed(4)
	if r.bad || n > uint64(len(r.s)) {
		*rs = ""
		return 0, reader{}, false, errMalformed
	}
	*rs = records(r.s[n:])
	return kind, reader{s: r.s[:n]}, true, nil
}

// beginRecord appends a record's header. endRecord writes the length into it after
// the body was appended.
func beginRecord(b []byte, kind recordKind) []byte { return append(b, byte(kind), 0, 0, 0, 0) }

// endRecord takes the offset at which the record begins.
func endRecord(b []byte, begin int) []byte {
	binary.BigEndian.PutUint32(b[begin+1:], uint32(len(b)-begin-recordHeader))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// reader reads values off the front of a string. The strings that it returns are
// parts of that string. After a failure it returns zero values, and bad is set.
type reader struct {
	s   string
	bad bool
}

func (r *reader) fail() { r.s, r.bad = "", true }

func (r *reader) byte() byte {
	if r.s == "" {
		r.bad = true
		return 0
	}
	c := r.s[0]
	r.s = r.s[1:]
	return c
}

// fixed reads n bytes, big-endian.
func (r *reader) fixed(n int) (v uint64) {
	if len(r.s) < n {
		r.fail()
		return 0
	}
	for i := range n {
		v = v<<8 | uint64(r.s[i])
	}
	r.s = r.s[n:]
	return v
}

func (r *reader) uvarint() (v uint64) {
	for i := range len(r.s) {
		c := r.s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break // more than 64 bits
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return v
		}
	}
	r.fail()
	return 0
}

// varint reads a number that may be below 0 (zigzag, encoding/binary).
func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) bool() bool {
	v := r.byte()
	if v > 1 {
		r.fail()
	}
	return v == 1
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > maxString || n > uint64(len(r.s)) {
		r.fail()
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

// rest returns all that is left, as bytes that share the packet's memory.
func (r *reader) rest() []byte {
	s := r.s
	r.s = ""
	return bytesOf(s)
}

// bytesOf returns the bytes of a string without copying them: telemetry is too much
// to copy. They may be changed, because the Redis client allocates each packet for
// its receiver alone.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns bytes as a string without copying them. They must not change
// while the string is used.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
