package protocol

// CloseCode is the status code of a WebSocket close frame (RFC 6455 section
// 7.4); 4000 and above are Labgate's own.
type CloseCode uint16

// Close codes. Each has one name, which is used in the close reason, the log field,
// the metric label and the documentation.
const (
	CloseNormal        CloseCode = 1000 // the peer is done
	CloseGoingAway     CloseCode = 1001 // the gateway shuts down, or a page is left
	CloseProtocolError CloseCode = 1002 // the framing breaks RFC 6455
	CloseUnsupported   CloseCode = 1003 // this endpoint does not accept this kind of data
	CloseNoStatus      CloseCode = 1005 // never sent: the close frame was empty
	CloseAbnormal      CloseCode = 1006 // never sent: the connection ended without a close frame
	CloseInvalidData   CloseCode = 1007 // text that is not UTF-8
	CloseTooLarge      CloseCode = 1009 // a message above the size limit
	CloseInternal      CloseCode = 1011 // a fault of the gateway

	CloseReplaced         CloseCode = 4000 // a newer connection of the same device took over
	CloseUnauthorized     CloseCode = 4001 // the token is missing, wrong or no longer valid
	CloseHeartbeatTimeout CloseCode = 4002 // nothing arrived from the peer for too long
	CloseIdle             CloseCode = 4003 // no application message for too long
	CloseSlowConsumer     CloseCode = 4004 // the peer reads too slowly
	CloseBadMessage       CloseCode = 4005 // too many refused messages
	CloseRateLimited      CloseCode = 4006 // too many messages in too short a time
	CloseDuplicateDevice  CloseCode = 4007 // the device id is connected already, and duplicates are refused
	CloseKicked           CloseCode = 4008 // an operator closed the session
)

// Name returns the name of the code. Codes not listed above are "other": a peer
// chooses the code that it sends, and must not be able to create new metric labels.
func (c CloseCode) Name() string {
	switch c {
	case CloseNormal:
		return "normal"
	case CloseGoingAway:
		return "going_away"
	case CloseProtocolError:
		return "protocol_error"
	case CloseUnsupported:
		return "unsupported_data"
	case CloseNoStatus:
		return "no_status"
	case CloseAbnormal:
		return "abnormal"
	case CloseInvalidData:
		return "invalid_data"
	case CloseTooLarge:
		return "too_large"
	case CloseInternal:
		return "internal_error"
	case CloseReplaced:
		return "replaced"
	case CloseUnauthorized:
		return "unauthorized"
	case CloseHeartbeatTimeout:
		return "heartbeat_timeout"
	case CloseIdle:
		return "idle"
	case CloseSlowConsumer:
		return "slow_consumer"
	case CloseBadMessage:
		return "bad_message"
	case CloseRateLimited:
		return "rate_limited"
	case CloseDuplicateDevice:
		return "duplicate_device"
	case CloseKicked:
		return "kicked"
	}
	return "other"
}

// String returns the name, so that the code reads well in logs.
func (c CloseCode) String() string { return c.Name() }

// Reconnect reports whether a client that was closed with this code should connect
// again, after a pause with jitter. It should not if the same would happen again
// (a malformed message, a refused token), or if the close was intended (normal,
// kicked, replaced: two connections of one device would otherwise replace each
// other for ever). A refused duplicate should connect again: the other connection
// may be its own, dead and not yet noticed.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseNormal, CloseProtocolError, CloseUnsupported, CloseInvalidData, CloseTooLarge,
		CloseReplaced, CloseUnauthorized, CloseBadMessage, CloseKicked:
		return false
	}
	return true
}
