package acceptance

import (
	"path/filepath"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// TestEchoToOtherLibraries: two other implementations of RFC 6455 get their
// messages back, and the expected close code.
func TestEchoToOtherLibraries(t *testing.T) {
	t.Parallel()
	g := startEcho(t, echoModes[0])
	for name, argv := range map[string][]string{
		"websockets for Python": {"/usr/bin/python3", "internal/acceptance/testdata/echo.py"},
		"ws for Node":           {"node", "internal/acceptance/testdata/echo.js", filepath.Join(gatewaytest.Root(t), "examples/node/package.json")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := gatewaytest.Start(t, append(argv, "ws://"+g.Addr+"/ws/echo")...)
			if code, out := p.Wait(2*gatewaytest.Patience), p.Stdout.Tail(1); code != 0 || out != "good\n" {
				t.Errorf("exit code %d: %q", code, out)
			}
		})
	}
}
