package acceptance

import (
	"errors"
	"fmt"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// TestFewDescriptors starts gateways under ulimit -n 128: the log says how many
// connections that leaves, unless somebody has said that so few are enough, and
// exactly so many connect.
func TestFewDescriptors(t *testing.T) {
	few := []string{"sh", "-c", `ulimit -n 128; exec "$@"`, "sh"}
	type warning struct {
		Level    string
		Possible int
	}
	g := gatewaytest.StartGatewayIn(t, few, "127.0.0.1:0")
	warned := gatewaytest.AwaitJSON(t, &g.Stderr, "warning", func(l warning) bool { return l.Possible != 0 })
	if warned.Level != "warn" || warned.Possible < 16 || !gatewaytest.Contains(g.Stderr.With("possible")[0], `"open_files":128`, "ulimit -n", "LimitNOFILE", "--max-connections") {
		t.Errorf("the warning is %q", g.Stderr.With("possible"))
	}
	for i := range warned.Possible {
		gatewaytest.Connect(t, g.Addr, fmt.Sprintf("/ws/device/d%d", i)).Await("gateway.welcome")
	}
	var refused *gatewaytest.RefusedError
	if _, err := (gatewaytest.Dialer{}).TryConnect(t, g.Addr, "/ws/device/more"); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("one more than %d connections: %v, want 503", warned.Possible, err)
	}

	for _, args := range [][]string{{"--max-connections", "8"}, nil} {
		prefix := few
		if args == nil {
			prefix = nil
		}
		quiet := gatewaytest.StartGatewayIn(t, prefix, "127.0.0.1:0", args...)
		if lines := quiet.Stderr.With("open_files"); len(lines) != 0 {
			t.Errorf("%q: %q", args, lines)
		}
	}
}
