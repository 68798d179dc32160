package server

import (
	"flag"
	"fmt"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestMain fails the package when a goroutine outlives its server. What runs
// before the first test is not looked at: two goroutines of the engine that
// nbio's websocket package makes for clients when it is loaded, one for each
// of its task pools.
func TestMain(m *testing.M) {
	// All modes of a test at once: most tests wait for time to pass.
	_ = flag.Set("test.parallel", fmt.Sprint(len(modes)))
	SetEngineLogger(zerolog.Nop())
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
