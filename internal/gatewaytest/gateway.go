package gatewaytest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Gateway is a running labgate serve.
type Gateway struct {
	*Process
	// Addr and Admin are the addresses of its two listeners, as host:port.
	Addr, Admin string
}

// StartGateway runs labgate serve with these arguments on free ports and waits
// until the gateway is ready. The log is JSON, from debug on.
func StartGateway(t testing.TB, args ...string) *Gateway {
	t.Helper()
	return StartGatewayIn(t, nil, "127.0.0.1:0", args...)
}

// StartGatewayIn is [StartGateway] with a command in front, such as ip netns
// exec, and another listening address.
func StartGatewayIn(t testing.TB, prefix []string, listen string, args ...string) *Gateway {
	t.Helper()
	argv := append(slices.Clone(prefix), Labgate(t), "--log-json", "--log-level", "debug",
		"serve", "--listen", listen, "--admin-listen", "127.0.0.1:0")
	g := &Gateway{Process: Start(t, append(argv, args...)...)}
	type readyLine struct{ Message, Listen, Admin string }
	ready := AwaitJSON(t, &g.Stderr, "line that says ready", func(l readyLine) bool { return l.Message == "ready" })
	g.Addr, g.Admin = ready.Listen, ready.Admin
	return g
}

// Ask makes a GET request to the admin listener, such as /readyz. Status 0
// means no answer; the text is then the error.
func (g *Gateway) Ask(path string) (status int, text string) {
	res, err := client.Get("http://" + g.Admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// client makes the requests to admin listeners. It keeps no idle connection,
// which would count among a gateway's descriptors and goroutines.
var client = &http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}

// Metrics returns the text of /metrics.
func (g *Gateway) Metrics() string {
	g.t.Helper()
	status, text := g.Ask("/metrics")
	if status != http.StatusOK {
		g.t.Fatalf("/metrics: %d %s", status, text)
	}
	return text
}

// Metric returns the sum of a metric's values over those of its series whose
// name with labels contains all the parts.
func (g *Gateway) Metric(name string, parts ...string) float64 {
	g.t.Helper()
	sum := 0.0
	for line := range strings.Lines(g.Metrics()) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || series != name && !strings.HasPrefix(series, name+"{") || !Contains(series, parts...) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			g.t.Fatalf("metric %s: %v", name, err)
		}
		sum += v
	}
	return sum
}

// Decode reads JSON, such as a message's payload, and fails the test when it
// does not fit T.
func Decode[T any](t testing.TB, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Errorf("%s: %v", data, err)
	}
	return v
}
