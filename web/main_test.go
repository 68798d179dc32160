package web_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/labgate/labgate/server"
)

// TestMain ends the browser that the tests share, and fails the package if a
// goroutine is left over.
func TestMain(m *testing.M) {
	server.SetEngineLogger(zerolog.Nop())
	before := goleak.IgnoreCurrent() // nbio starts some when it is loaded
	code := m.Run()
	if err := stopBrowser(); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		code = 1
	}
	if err := goleak.Find(before); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
