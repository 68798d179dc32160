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
type sessionReader struct {
	frames wsframe.Reader
	failed bool
}

// read takes what was read from the connection. After an error, or a panic of
// whoever handles the messages, the session is closed and only its peer's close
// frame is looked for.
func (r *sessionReader) read(p *panics.Recoverer, s *session.Session, data []byte) {
	s.Heard()
	if r.failed {
		scanForClose(s, data)
		return
	}
	if !p.Run(s, func() { r.feed(s, data) }) {
		r.failed = true
		s.Fail(protocol.CloseInternal, "internal error")
	}
}

func (r *sessionReader) feed(s *session.Session, data []byte) {
	if err := r.frames.Feed(data, s); err != nil {
		r.failed = true
		failRead(s, err)
	}
	s.EndRead()
}

// failRead closes a session whose peer broke the WebSocket protocol, or whose
// message could not be handled. The answers to what came before are sent.
func failRead(s *session.Session, err error) {
	var broken *wsframe.Error
	if errors.As(err, &broken) {
		s.Close(protocol.CloseCode(broken.Code), broken.Error())
		return
	}
	s.Fail(protocol.CloseInternal, err.Error())
}
