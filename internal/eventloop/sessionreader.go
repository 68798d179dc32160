package eventloop

import (
	"errors"

	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// sessionReader reads the frames of one session, for each kind of transport. It
// is owned by the session's reading goroutine.
type sessionReader struct{ frames wsframe.Reader }

// read takes what was read from the connection. A panic in the handling of a
// message closes the session, and no further message is handled.
func (r *sessionReader) read(p *panics.Recoverer, s *session.Session, data []byte) {
	if !p.Run(s, func() { s.Receive(&r.frames, data) }) {
		r.frames.Abort(errPanic)
		s.Fail(protocol.CloseInternal, "internal error")
	}
}

// errPanic ends the reading of a session whose message caused a panic.
var errPanic = errors.New("panic while handling a message")
