package eventloop

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/wsframe"
)

// TestMain fails the package when a goroutine is left. What runs before the
// first test is not looked at: two goroutines of the engine that nbio's websocket
// package makes for clients when it is loaded.
func TestMain(m *testing.M) {
	SetLogger(zerolog.Nop())
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// masked returns a client's frame with the given first byte.
func masked(b0 byte, payload string) []byte {
	b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 0x01020304, []byte(payload))
	b[0] = b0
	return b
}
