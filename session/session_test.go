package session

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

func TestSessionSaysWhoItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		time.Sleep(3 * time.Second)
		begin := time.Now()
		info := Info{Role: RoleDevice, Name: "d", Type: "tensile", Customer: "acme", Remote: "127.0.0.1:5", Meta: map[string]string{"hall": "2"}}
		s, _ := connect(t, m, info)
		f, _ := connect(t, m, frontend)
		if !reflect.DeepEqual(*s.Info(), info) {
			t.Errorf("info is %+v, want %+v", *s.Info(), info)
		}
		equal(t, "roles, names", fmt.Sprintf("%v %v %q %q", s.Role(), f.Role(), s.Name(), f.Name()), `device frontend "d" ""`)
		if !s.ConnectedAt().Equal(begin) || m.Now() != 3*time.Second {
			t.Errorf("since %v, now %v", s.ConnectedAt(), m.Now())
		}
	})
}

func TestMessagesGoToTheCallbacks(t *testing.T) {
	opts := testOptions()
	var log []string
	wrong := errors.New("wrong")
	on(&opts).message = func(_ *Session, op wsframe.Opcode, payload []byte) error {
		log = append(log, fmt.Sprintf("%v %s", op, payload))
		if string(payload) == "wrong" {
			return wrong
		}
		return nil
	}
	on(&opts).endRead = func(*Session) { log = append(log, "end") }
	m := newTestManager(t, opts)
	s, f := connect(t, m, frontend)
	f.read(func(s *Session) {
		_ = s.HandleMessage(wsframe.OpText, []byte("a"))
		_ = s.HandleMessage(wsframe.OpBinary, []byte("b"))
		if err := s.HandleMessage(wsframe.OpText, []byte("wrong")); !errors.Is(err, wrong) {
			t.Errorf("HandleMessage: %v, want OnMessage's error", err)
		}
	})
	s.Fail(protocol.CloseInternal, "")
	f.read(func(s *Session) { _ = s.HandleMessage(wsframe.OpText, []byte("after the end")) })
	equal(t, "callbacks", log, "[text a binary b text wrong end end]")
}

func TestGatewaysOwnMessages(t *testing.T) {
	m := newTestManager(t, testOptions())
	s, f := connect(t, m, frontend)
	if err := s.SendError(protocol.ErrTimeout, "no answer", "id-1"); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	equal(t, "written", f.sentText(), `{"type":"gateway.error","re":"id-1","payload":{"code":"timeout","message":"no answer"}}`)

	var field *protocol.FieldError
	if err := s.SendError(protocol.ErrTimeout, "", strings.Repeat("x", protocol.MaxIDLen+1)); !errors.As(err, &field) {
		t.Errorf("an id that is too long: %v, want a FieldError", err)
	}
	s.Close(protocol.CloseNormal, "")
	if err := s.SendError(protocol.ErrTimeout, "", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("after the close: %v, want ErrClosed", err)
	}
}

func TestEnvelopeFrame(t *testing.T) {
	raw := []byte(`{"type":"test.start","payload": {"force" : 1.50}}`)
	var e protocol.Envelope
	if err := e.Parse(raw); err != nil {
		t.Fatal(err)
	}
	splice := protocol.Splice{Src: "ada"}
	f := NewTextFrameFor(e.SplicedSize(splice))
	f.AppendEnvelope(&e, splice)
	frames := parseWire(f.Wire())
	f.Release()
	if len(frames) != 1 || !strings.Contains(frames[0].String(), `"payload": {"force" : 1.50}`) || !strings.Contains(frames[0].String(), `"src":"ada"`) {
		t.Errorf("frames: %v", frames)
	}
}
