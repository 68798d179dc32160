package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// MaxMessageLimit is the highest limit a Reader can have, in bytes: 512 MiB.
const MaxMessageLimit = 1 << 29

// maxEmptyFragments is how many empty frames, not counting the last, one message
// may have. Empty frames do not add to the size of the message, so that its limit
// does not bound their number.
const maxEmptyFragments = 1000

// Handler receives the messages and control frames of a [Reader]. Payloads are
// valid only during the call and may be modified. After an error the Reader
// delivers nothing more, and [Reader.Feed] returns that error. A Handler may call
// [Reader.Release], but not Feed.
type Handler interface {
	// HandleMessage takes a complete message: op is OpText (valid UTF-8) or
	// OpBinary; the payload may be empty.
	HandleMessage(op Opcode, payload []byte) error
	// HandleControl takes a ping, pong or close frame, at most 125 bytes. The
	// payload of a close frame has been checked: it is empty or has a legal
	// code and a UTF-8 reason, see [ParseClose]. Nothing is delivered after it.
	HandleControl(op Opcode, payload []byte) error
}

// Reader is an incremental RFC 6455 frame reader for one direction of one
// connection. The zero value needs [Reader.Init]. A Reader has no goroutine and no
// lock: the goroutine that reads the connection owns it, and no two methods may run
// at the same time.
type Reader struct {
	err error // why the Reader has failed, if stage is failed

	// partial holds the finished fragments of the message in progress, then what
	// has arrived of the current frame; nil if there is neither.
	partial *buffer
	limit   uint32 // bytes a message may have
	kept    uint32 // bytes in partial that belong to finished fragments
	checked uint32 // bytes in partial known to be whole UTF-8 characters
	left    uint32 // bytes of the current frame's payload still to come, if stage is inPayload or failed
	key     uint32 // masking key, rotated so that its low byte applies to the next byte

	empty    uint16 // empty fragments of the message in progress
	message  Opcode // the fragmented message in progress, 0 if there is none
	op       Opcode // of the current frame
	fin      bool   // of the current frame
	client   bool
	closed   bool // a close frame has come, valid or not
	stage    stage
	held     uint8 // bytes in heldHead
	heldHead [maxHeaderSize]byte
}

// stage is what the Reader expects next. In ended and failed nothing is delivered.
type stage uint8

const (
	inHeader stage = iota
	inPayload
	ended  // after a close frame or Release: input is ignored
	failed // after an error: input is scanned for a close frame
)

// Init makes r ready for a new connection. maxMessage limits the size of a message,
// all fragments together, in bytes: a larger message fails with 1009 as soon as a
// header announces it, and so does a message with more than 1,000 empty fragments.
// Values below 0 count as 0 (only empty messages), values above [MaxMessageLimit]
// as MaxMessageLimit. client is true on the client's side, which accepts only
// unmasked frames; a server accepts only masked ones.
func (r *Reader) Init(maxMessage int, client bool) {
	r.Release()
	*r = Reader{limit: uint32(min(max(maxMessage, 0), MaxMessageLimit)), client: client}
}

// Release returns pooled buffers. r ignores all input until the next Init. Release
// may be called again, and from within a [Handler].
func (r *Reader) Release() {
	r.stage = ended
	putBuffer(r.partial)
	r.partial = nil
}

// Feed takes the next bytes of the connection, in pieces of any size, and calls h
// for every message and control frame that they complete. It consumes all of data,
// unmasks frames in place and keeps no reference to data.
//
// The error is an [*Error] if the peer broke RFC 6455, else the error of h. After an
// error Feed delivers nothing more: it only scans for a close frame, see
// [Reader.PeerClosed], and returns the same error again. After a close frame the
// rest of the input is ignored and the error is nil.
func (r *Reader) Feed(data []byte, h Handler) error {
	for len(data) > 0 && r.stage < ended {
		var err error
		if r.stage == inHeader && r.held == 0 && r.message == 0 {
			data, err = r.feedWhole(data, h)
			if err != nil {
				return r.fail(err, data)
			}
			if len(data) == 0 || r.stage >= ended {
				break
			}
		}
		if r.stage == inHeader {
			data, err = r.feedHeader(data, h)
		} else {
			data, err = r.feedPayload(data, h)
		}
		if err != nil {
			return r.fail(err, data)
		}
	}
	if r.err != nil {
		r.scanForClose(data)
	}
	return r.err
}

// Abort lets r fail with err as if a [Handler] had returned it, for a caller whose
// Handler has panicked. It does nothing if r has failed already.
func (r *Reader) Abort(err error) {
	if r.stage != failed {
		_ = r.fail(err, nil)
	}
}

// PeerClosed reports whether the peer has sent a close frame (RFC 6455, 5.5.1). A
// close frame that is itself invalid counts, and so does one that follows the
// frame that broke the protocol.
func (r *Reader) PeerClosed() bool { return r.closed }

// feedWhole is the fast path: it delivers unfragmented data frames that are complete
// in data and obviously valid. Any other frame is left to feedHeader, which checks
// all rules. r must be between messages.
func (r *Reader) feedWhole(data []byte, h Handler) (rest []byte, err error) {
	limit := int(r.limit)
	head, wantMask := 2+maskKeySize, byte(maskBit)
	if r.client {
		head, wantMask = 2, 0
	}
	for len(data) >= head {
		op := Opcode(data[0] &^ finBit)
		if data[0] != finBit|byte(OpBinary) && data[0] != finBit|byte(OpText) || data[1]&maskBit != wantMask {
			break
		}
		start, n := head, int(data[1]&lengthBits)
		if n >= length16 {
			start += 2
			if n == length64 || len(data) < start {
				break
			}
			if n = int(binary.BigEndian.Uint16(data[2:])); n < length16 {
				break
			}
		}
		end := start + n
		if n > limit || len(data) < end {
			break
		}
		payload := data[start:end:end]
		if wantMask != 0 {
			maskWords(payload, binary.LittleEndian.Uint32(data[start-maskKeySize:]))
		}
		// 8.1: text is UTF-8.
		if op == OpText && !utf8.Valid(payload) {
			return data[end:], errTextNotUTF8
		}
		data = data[end:]
		if err := h.HandleMessage(op, payload); err != nil {
			return data, err
		}
		if r.stage == ended {
			return nil, nil
		}
	}
	return data, nil
}

// fail puts r into the failed stage. rest is the input that was not used yet.
func (r *Reader) fail(err error, rest []byte) error {
	r.Release()
	r.stage, r.err = failed, err
	r.scanForClose(rest)
	return err
}
