package wsframe

import "strconv"

// The close codes a Reader fails a connection with (RFC 6455, 7.4.1).
const (
	codeProtocolError  = 1002
	codeInvalidPayload = 1007
	codeMessageTooBig  = 1009
	codeNoStatus       = 1005 // never on the wire: a close frame without a code
)

// Error is a breach of RFC 6455 by the peer. The connection cannot go on: the
// caller sends a close frame with Code and closes it (RFC 6455, 7.1.7).
type Error struct {
	Code    uint16 // the close code to answer with: 1002, 1007 or 1009
	Section string // the section of RFC 6455 that was broken, such as "5.1"
	Reason  string // what was wrong; short enough (123 bytes) for a close frame
}

// Error returns the reason with its close code and section.
func (e *Error) Error() string {
	return "websocket: " + e.Reason + " (close code " + strconv.Itoa(int(e.Code)) + ", RFC 6455 section " + e.Section + ")"
}

// The errors whose reason contains no figures. They are never modified.
var (
	errRSV            = &Error{codeProtocolError, "5.2", "RSV bits are set but no extension was agreed on; send them as 0"}
	errFragControl    = &Error{codeProtocolError, "5.5", "control frame is fragmented; send it in one frame"}
	errLongControl    = &Error{codeProtocolError, "5.5", "control frame has over 125 bytes of payload; send at most 125"}
	errNoStart        = &Error{codeProtocolError, "5.4", "continuation frame without a message to continue"}
	errInterleaved    = &Error{codeProtocolError, "5.4", "new data frame inside a fragmented message; finish that message first"}
	errUnmasked       = &Error{codeProtocolError, "5.1", "frame of a client is not masked; clients must mask every frame"}
	errMasked         = &Error{codeProtocolError, "5.1", "frame of a server is masked; servers must not mask"}
	errNotMinimal     = &Error{codeProtocolError, "5.2", "payload length is not in its shortest encoding"}
	errLengthTopBit   = &Error{codeProtocolError, "5.2", "64-bit payload length has its most significant bit set"}
	errEmptyFragments = &Error{codeMessageTooBig, "10.4", "message has more than 1000 empty fragments; send fragments with a payload"}
	errTextNotUTF8    = &Error{codeInvalidPayload, "8.1", "text message is not valid UTF-8; send other data as binary"}
	errCloseOneByte   = &Error{codeProtocolError, "5.5.1", "close frame has a payload of 1 byte; send none or at least a 2-byte code"}
	errCloseNotUTF8   = &Error{codeInvalidPayload, "8.1", "reason in the close frame is not valid UTF-8"}
)

func errReservedOpcode(op Opcode) error {
	return &Error{codeProtocolError, "5.2", "opcode " + strconv.Itoa(int(op)) + " is reserved; use 0, 1, 2, 8, 9 or 10"}
}

// errTooBig gets the size announced so far, which further fragments may increase.
func errTooBig(size uint64, limit int) error {
	return &Error{codeMessageTooBig, "10.4", "message of " + strconv.FormatUint(size, 10) +
		" bytes or more, at most " + strconv.Itoa(limit) + " allowed; send smaller messages"}
}

func errCloseCode(code uint16) error {
	return &Error{codeProtocolError, "7.4", "code " + strconv.Itoa(int(code)) +
		" is not allowed in a close frame; use 1000-1003, 1007-1014 or 3000-4999"}
}
