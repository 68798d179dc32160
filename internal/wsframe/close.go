package wsframe

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// maxCloseReason is the largest close reason in bytes, behind the 2-byte code.
const maxCloseReason = MaxControlPayload - 2

// AppendClose appends an unmasked close frame (RFC 6455, 5.5.1). A reason over
// 123 bytes is cut between two characters; invalid UTF-8 in it is replaced by
// U+FFFD. Code 0 or 1005 ("no status", never on the wire) makes a close frame
// without payload.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == codeNoStatus {
		return AppendHeader(dst, OpClose, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// ParseClose splits the payload of a close frame that a [Reader] delivered
// into code and reason. Without a payload the code is 1005 (RFC 6455, 7.1.5).
func ParseClose(payload []byte) (code uint16, reason string) {
	if len(payload) < 2 {
		return codeNoStatus, ""
	}
	return binary.BigEndian.Uint16(payload), string(payload[2:])
}

func cutReason(reason string) string {
	if !utf8.ValidString(reason) {
		reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	}
	if len(reason) <= maxCloseReason {
		return reason
	}
	end := maxCloseReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// checkClose applies the rules for the payload of a received close frame.
func checkClose(payload []byte) error {
	// 5.5.1: a body, if there is one, begins with a 2-byte code.
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return errCloseOneByte
	}
	// 7.4: reserved and undefined codes must not be sent.
	if code := binary.BigEndian.Uint16(payload); !legalCloseCode(code) {
		return errCloseCode(code)
	}
	// 5.5.1 and 8.1: the reason is UTF-8.
	if !utf8.Valid(payload[2:]) {
		return errCloseNotUTF8
	}
	return nil
}

// legalCloseCode says whether a peer may send code (RFC 6455, 7.4.1, 7.4.2
// and the IANA registry, which has since assigned 1012 to 1014).
func legalCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003:
		return true
	case code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}
