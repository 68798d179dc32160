package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labgate/labgate/bench/internal/host"
)

// serverSample is the state of the gateway's processes at one moment; the zero
// value means unknown.
type serverSample struct {
	cpuSeconds float64
	rssKiB     int64
	peakKiB    int64
	err        error
}

// sampleServer adds up the processes that the options name.
func sampleServer(o *Options) (s serverSample) {
	for _, p := range []struct {
		option string
		pid    int
	}{{"server-pid", o.ServerPID}, {"frontend-pid", o.FrontendPID}} {
		if p.pid == 0 {
			continue
		}
		cpu, err := host.CPUTime(p.pid)
		rss, peak, err2 := host.Memory(p.pid)
		if err := errors.Join(err, err2); err != nil {
			s.err = &optionError{p.option, fmt.Sprintf("process %d: %v", p.pid, err)}
			continue
		}
		s.cpuSeconds += cpu
		s.rssKiB += rss
		s.peakKiB += peak
	}
	return s
}

// sampleGoroutines asks the admin listener. The request costs the gateway more
// than reading /proc, so it is not part of every sample.
func sampleGoroutines(o *Options) (int64, error) {
	if o.AdminURL == "" {
		return 0, nil
	}
	n, err := scrape(o.AdminURL, "go_goroutines")
	if err != nil {
		return 0, fmt.Errorf("bench: option admin-url: %w", err)
	}
	return int64(n), nil
}

// scrape reads one plain metric from base/metrics.
func scrape(base, metric string) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	tr := &http.Transport{DisableKeepAlives: true, Proxy: nil}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req) // no redirects
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s/metrics: %s", base, resp.Status)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, metric+" "); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("%s/metrics has no %s", base, metric)
}
