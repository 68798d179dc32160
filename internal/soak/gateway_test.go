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
	// leaving is set when the gateway was told to end.
	leaving atomic.Bool
	// leases counts sessions that lost their token, outlived their JWT, renewed
	// it.
	leases [3]atomic.Int64
	// complain takes what an actor found wrong.
	complain func(format string, args ...any)
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{complain: t.Errorf, credentials: newCredentials(t)}
	// Small queues and short deadlines, so that all of them are met.
	g.Gateway = gatewaytest.StartGateway(t, "--log-level", "info",
		"--telemetry-bytes", "65536", "--inflight-bytes", "16384", "--heartbeat-interval", "1s", "--heartbeat-timeout", "5s",
		"--handshake-timeout", "2s", "--drain-timeout", "10s", "--frontend-message-rate", "500", "--max-connections-per-address", "5000",
		"--credential-file", g.credentials.file, "--jwt-secret-file", g.credentials.secretFile, "--token-warning", "1s")
	return g
}

// rest is what a gateway has while nobody is connected.
type rest struct {
	goroutines, descriptors int
	heapKiB                 int
}

func (r rest) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", r.goroutines, r.descriptors, r.heapKiB)
}

// atRest waits until all connections have ended and takes stock.
func (g *gateway) atRest(t *testing.T) rest {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	gatewaytest.Eventually(t, "no session and no connection is left", func() bool {
		return g.Metric("labgate_sessions") == 0 && g.Metric("labgate_connections") == 0
	})
	// A moment for goroutines that have done their work.
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

// compare fails when more is left than there was. The admin listener's own
// connections make a small difference.
func (r rest) compare(t *testing.T, after rest) {
	t.Helper()
	if after.goroutines > r.goroutines+4 || after.descriptors > r.descriptors+3 || after.heapKiB > r.heapKiB+4<<10 {
		t.Errorf("before: %v; after: %v", r, after)
	}
}
