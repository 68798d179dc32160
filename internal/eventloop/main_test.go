package eventloop

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestMain fails the package when a goroutine is left. What runs before the
// first test is not looked at: two goroutines of the engine that nbio's websocket
// package makes for clients when it is loaded.
func TestMain(m *testing.M) {
	SetLogger(zerolog.Nop())
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
