package acceptance

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// The examples are clients in other languages, written from docs/protocol.md:
// a device in Python, a front end in Node.
func TestPythonDeviceAndNodeFrontend(t *testing.T) {
	t.Parallel()
	const seconds = 5
	g := gatewaytest.StartGateway(t)
	for _, perFrame := range []int{1, 100} {
		t.Run(strconv.Itoa(perFrame)+" samples a frame", func(t *testing.T) {
			t.Parallel()
			id := "python-" + strconv.Itoa(perFrame)
			gatewaytest.Start(t, "/usr/bin/python3", "examples/python/device.py", "ws://"+g.Addr, id)
			front := gatewaytest.Start(t, "node", "examples/node/frontend.js", "ws://"+g.Addr, id, strconv.Itoa(perFrame), strconv.Itoa(seconds))
			code := front.Wait(60 * time.Second)
			var result struct {
				Good                          bool
				Samples, Gaps, Repeated, Lost int
				Answer                        struct{ Type, Src, Re string }
			}
			out := strings.TrimSpace(front.Stdout.Tail(1))
			if err := json.Unmarshal([]byte(out), &result); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if code != 0 || !result.Good || result.Samples != seconds*10_000 || result.Gaps+result.Repeated+result.Lost != 0 {
				t.Errorf("exit code %d: %s", code, out)
			}
			if result.Answer.Type != "stream.started" || result.Answer.Src != id || result.Answer.Re != "start-1" {
				t.Errorf("answer: %+v", result.Answer)
			}
		})
	}
}
