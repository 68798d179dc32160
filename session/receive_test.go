package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// clientFrame is a masked frame with any first byte.
func clientFrame(first byte, payload string) []byte {
	b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 0x37fa213d, []byte(payload))
	b[0] = first
	return b
}

// TestClosingHandshakeAfterAnError: the transport closes as soon as both close
// frames are there, whichever of them is valid, and else after the grace.
func TestClosingHandshakeAfterAnError(t *testing.T) {
	bad, closing, badClose := clientFrame(0x83, "x"), clientFrame(0x88, "\x03\xe8"), clientFrame(0x88, "x")
	for _, tt := range []struct {
		name  string
		reads [][]byte
		first func(s *Session)
		sent  string
		grace bool // the transport stays open for the grace
	}{
		{"an invalid close frame", [][]byte{badClose}, nil, "close:1002:protocol_error", false},
		{"an invalid close frame in two reads", [][]byte{badClose[:3], badClose[3:]}, nil, "close:1002:protocol_error", false},
		{"a bad frame", [][]byte{bad}, nil, "close:1002:protocol_error", true},
		{"a bad frame with a close frame behind it", [][]byte{append(bad[:len(bad):len(bad)], closing...)}, nil, "close:1002:protocol_error", false},
		{"a bad frame, then a close frame", [][]byte{bad, closing}, nil, "close:1002:protocol_error", false},
		{"a bad frame, then an invalid close frame", [][]byte{bad, badClose}, nil, "close:1002:protocol_error", false},
		{"an invalid close frame as the answer to ours", [][]byte{badClose},
			func(s *Session) { s.Close(protocol.CloseKicked, "") }, "close:4008:kicked", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, testOptions())
				s, f := connect(t, m, frontend)
				var r wsframe.Reader
				r.Init(1000, false)
				if tt.first != nil {
					tt.first(s)
					synctest.Wait()
				}
				begin := time.Now()
				for _, data := range tt.reads {
					s.Receive(&r, append([]byte{}, data...))
					synctest.Wait()
				}
				equal(t, "sent", f.sentText(), tt.sent)
				if f.closed() == tt.grace {
					t.Errorf("the transport is closed: %v", f.closed())
				}
				<-f.ended
				if waited := time.Since(begin); waited < m.opts.CloseGrace == tt.grace {
					t.Errorf("closed after %v", waited)
				}
			})
		})
	}
}

// TestFaultOfTheGateway: an error of OnMessage closes the session with 1011, and
// nothing that comes later is handled.
func TestFaultOfTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		handled := 0
		on(&opts).message = func(*Session, wsframe.Opcode, []byte) error {
			handled++
			return errors.New("out of order")
		}
		var cause Cause
		on(&opts).disconnect = func(_ *Session, c Cause) { cause = c }
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		var r wsframe.Reader
		r.Init(1000, false)
		s.Receive(&r, append(clientFrame(0x81, "{}"), clientFrame(0x81, "{}")...))
		s.Receive(&r, clientFrame(0x81, "{}"))
		synctest.Wait()
		equal(t, "sent", f.sentText(), "close:1011:internal_error")
		equal(t, "handled, detail", []any{handled, cause.Detail}, []any{1, "out of order"})
		s.Receive(&r, clientFrame(0x88, "\x03\xf3"))
		synctest.Wait()
		if !f.closed() {
			t.Error("the transport is open although both close frames are there")
		}
	})
}
