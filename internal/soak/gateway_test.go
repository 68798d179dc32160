package soak

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// gateway is a running labgate serve.
type gateway struct {
	*gatewaytest.Gateway
	credentials *credentials
	// leaving is set when the test has told the gateway to end.
	leaving atomic.Bool
	// endings counts the sessions that lost their token, outlived their JWT, and
	// renewed it, by these three cases.
	endings [3]atomic.Int64
	// complain records an error that an actor has found.
	complain func(format string, args ...any)
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{complain: t.Errorf, credentials: newCredentials(t)}
	// Queues are small and deadlines short, so that the load reaches all of
	// these limits.
	g.Gateway = gatewaytest.StartGateway(t, "--log-level", "info",
		"--telemetry-bytes", "65536", "--inflight-bytes", "16384", "--heartbeat-interval", "1s", "--heartbeat-timeout", "5s",
		"--handshake-timeout", "2s", "--drain-timeout", "10s", "--frontend-message-rate", "500", "--max-connections-per-address", "5000",
		"--credential-file", g.credentials.file, "--jwt-secret-file", g.credentials.secretFile, "--token-warning", "1s")
	return g
}

// rest is what a gateway uses while no peer is connected.
type rest struct {
	goroutines, descriptors int
	heapKiB                 int
}

func (r rest) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", r.goroutines, r.descriptors, r.heapKiB)
}

// atRest waits until all connections have ended, and returns the use of
// resources.
func (g *gateway) atRest(t *testing.T) rest {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	gatewaytest.Eventually(t, "no session and no connection is left", func() bool {
		return g.Metric("labgate_sessions") == 0 && g.Metric("labgate_connections") == 0
	})
	// Goroutines that have finished their work need a moment to end.
	time.Sleep(500 * time.Millisecond)
	// This collects the garbage first; twice, for what pools have kept.
	for range 2 {
		if status, text := g.Ask("/debug/pprof/heap?gc=1"); status != http.StatusOK {
			t.Fatalf("heap profile: %d %.200s", status, text)
		}
	}
	return rest{
		goroutines:  int(g.Metric("go_goroutines")),
		descriptors: g.Descriptors(),
		heapKiB:     int(g.Metric("go_memstats_heap_alloc_bytes")) >> 10,
	}
}

// compare fails when the gateway uses more than before. The admin listener's
// connections cause a small difference.
func (r rest) compare(t *testing.T, after rest) {
	t.Helper()
	if after.goroutines > r.goroutines+4 || after.descriptors > r.descriptors+3 || after.heapKiB > r.heapKiB+4<<10 {
		t.Errorf("before: %v; after: %v", r, after)
	}
}
