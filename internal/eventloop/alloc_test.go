package eventloop

import (
	"context"
	"testing"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// counting counts messages.
type counting struct {
	session.NopCallbacks
	messages int
}

func (c *counting) OnMessage(*session.Session, wsframe.Opcode, []byte) error {
	c.messages++
	return nil
}

// discarding is where the session writes: nothing is looked at but reading.
type discarding struct{}

func (discarding) Write(b []byte) (int, error) { return len(b), nil }
func (discarding) Buffered() int               { return 0 }
func (discarding) Close() error                { return nil }

// TestReadDoesNotAllocate: what a session has sent goes from nbio's connection
// through the transport and the frame reader without an allocation.
func TestReadDoesNotAllocate(t *testing.T) {
	var got counting
	m, err := session.NewManager(session.Options{Callbacks: &got})
	if err != nil {
		t.Fatal(err)
	}
	_, conn := tcpPair(t)
	nbc, err := nbio.NBConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer nbc.Close()
	c := &pollerTransport{loop: &Loop{panics: panics.NewRecoverer(zerolog.Nop())}, ws: &websocket.Conn{}, nbc: nbc}
	c.reader.frames.Init(1<<16, false)
	s, err := m.Add(session.Info{Role: session.RoleDevice, Name: "d"}, discarding{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Stop(ctx)
	})
	c.ws.SetSession(s)
	nbc.SetSession(c)
	var frames []byte
	for range 16 {
		frames = wsframe.AppendMaskedFrame(frames, wsframe.OpText, 0x01020304, []byte(`{"type":"a.b"}`))
	}
	buf := make([]byte, len(frames))
	if n := testing.AllocsPerRun(100, func() {
		copy(buf, frames) // the frame reader unmasks in place
		connOf(nbc).received(buf)
	}); n != 0 {
		t.Errorf("%v allocations for a read of 16 messages", n)
	}
	if want := 101 * 16; got.messages != want {
		t.Errorf("%d messages handled, want %d", got.messages, want)
	}
}
