package acceptance

import (
	"path/filepath"
	"testing"
)

// TestEchoToOtherLibraries: what two other implementations of RFC 6455 send
// comes back to them, and they agree on the close code.
func TestEchoToOtherLibraries(t *testing.T) {
	g := startEcho(t, echoModes[0])
	for name, argv := range map[string][]string{
		"websockets for Python": {"/usr/bin/python3", "internal/acceptance/testdata/echo.py"},
		"ws for Node":           {"node", "internal/acceptance/testdata/echo.js", filepath.Join(root, "examples/node/package.json")},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, append(argv, "ws://"+g.addr+"/ws/echo")...)
			if code, out := p.wait(t, 2*patience), p.stdout.tail(1); code != 0 || out != "good\n" {
				t.Errorf("exit code %d: %q", code, out)
			}
		})
	}
}
