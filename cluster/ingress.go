package cluster

import (
	"errors"
	"fmt"

	"github.com/labgate/labgate/protocol"
)

// maxExternal bounds a message of another program, in bytes. The router's limit is
// usually smaller.
const maxExternal = 16 << 20

// receiveExternal takes a message that another program published on the ingress
// channel. Every node receives it and delivers it to its own sessions. Every node
// counts and logs a message that is refused.
func (b *Bus) receiveExternal(text string) {
	var err error
	if len(text) > maxExternal {
		err = &protocol.Error{Code: protocol.ErrTooLarge, Message: fmt.Sprintf("the message has %d bytes, at most %d are allowed", len(text), maxExternal)}
	} else {
		err = b.member.ReceiveExternal(bytesOf(text))
	}
	b.mu.Lock()
	if err == nil {
		b.stats.IngressAccepted++
		b.mu.Unlock()
		return
	}
	reason := string(protocol.ErrBadMessage)
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		reason = string(e.Code)
	}
	b.refused[reason]++
	b.mu.Unlock()
	if n, ok := b.received.refusals.allow(b.now()); ok {
		const shown = 200
		b.log.Warn().Err(err).Str("channel", b.names.ingress).Str("reason", reason).Uint64("since", n).
			Str("begins", text[:min(len(text), shown)]).Msg("a message of another program was refused")
	}
}
