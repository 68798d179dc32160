package eventloop

import (
	"encoding/binary"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// scanForClose takes what a peer sends after its session has failed. Frames
// cannot be told apart any more, but a read that ends in what looks like a close
// frame is the peer's answer to ours, and the connection may end.
func scanForClose(s *session.Session, data []byte) {
	if endsInClose(data) {
		_ = s.HandleControl(wsframe.OpClose, nil)
	}
}

// endsInClose reports whether the last bytes have the form of a masked close
// frame (RFC 6455 section 5.5.1).
func endsInClose(data []byte) bool {
	const header, masked = 6, 0x80
	for n := 0; n <= min(wsframe.MaxControlPayload, len(data)-header); n++ {
		f := data[len(data)-header-n:]
		if f[0] != masked|byte(wsframe.OpClose) || f[1] != masked|byte(n) || n == 1 {
			continue
		}
		if n == 0 {
			return true
		}
		// The code, unmasked.
		if code := binary.BigEndian.Uint16(f[header:]) ^ binary.BigEndian.Uint16(f[2:]); code >= 1000 && code < 5000 {
			return true
		}
	}
	return false
}
