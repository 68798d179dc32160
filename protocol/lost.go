package protocol

import "strconv"

// Lost names telemetry that this front end did not get: all samples from From
// up to, not including, To, unless Inexact is set.
type Lost struct {
	Stream uint32 `json:"stream"`
	From   uint64 `json:"from"` // seq of the first sample lost
	To     uint64 `json:"to"`   // seq after the last sample lost
	Cause  string `json:"cause"`
	// Inexact: of the samples between From and To some are lost, and the device
	// itself has left out the others.
	Inexact bool `json:"inexact,omitempty"`
	// Samples is how many are lost if Inexact is set; 0 when that is not known.
	Samples uint64 `json:"samples,omitempty"`
}

// Count returns how many samples are lost, 0 when that is not known.
func (l *Lost) Count() uint64 {
	if l.Inexact {
		return l.Samples
	}
	return l.To - l.From
}

// AppendMessage appends the gateway.lost message with this payload to dst. Cause
// must need no escapes in JSON. It does not allocate if dst has room.
func (l *Lost) AppendMessage(dst []byte) []byte {
	dst = append(dst, `{"type":"`+TypeLost+`","payload":{"stream":`...)
	dst = strconv.AppendUint(dst, uint64(l.Stream), 10)
	dst = strconv.AppendUint(append(dst, `,"from":`...), l.From, 10)
	dst = strconv.AppendUint(append(dst, `,"to":`...), l.To, 10)
	dst = append(append(append(dst, `,"cause":"`...), l.Cause...), '"')
	if l.Inexact {
		dst = append(dst, `,"inexact":true`...)
	}
	if l.Samples != 0 {
		dst = strconv.AppendUint(append(dst, `,"samples":`...), l.Samples, 10)
	}
	return append(dst, "}}"...)
}
