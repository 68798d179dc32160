package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is USER_HZ, the unit of CPU times in /proc: 100 on every Linux.
const clockTicks = 100

// serverSample is what /proc and the admin listener say at a moment; the zero
// value: nothing known.
type serverSample struct {
	cpuSeconds float64
	rssKiB     int64
	peakKiB    int64
	err        error
}

// sampleServer reads what the options let it.
func sampleServer(o *Options) (s serverSample) {
	if o.ServerPID > 0 {
		dir := "/proc/" + strconv.Itoa(o.ServerPID)
		stat, err := os.ReadFile(dir + "/stat")
		if err == nil {
			s.cpuSeconds, err = parseStat(stat)
		}
		status, err2 := os.ReadFile(dir + "/status")
		if err2 == nil {
			s.rssKiB, s.peakKiB = parseStatus(status)
		}
		for _, e := range []error{err, err2} {
			if e != nil {
				s.err = fmt.Errorf("bench: option server-pid: %w", e)
			}
		}
	}
	return s
}

// sampleGoroutines asks the admin listener, which costs the gateway more than
// reading /proc does and is therefore not part of every sample.
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

// parseStat sums user and system time of /proc/PID/stat, in seconds. The
// command's name in parentheses may hold anything.
func parseStat(b []byte) (float64, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, fmt.Errorf("unexpected content of stat: %.40q", b)
	}
	fields := strings.Fields(string(b[i+1:]))
	const utime, stime = 14 - 3, 15 - 3 // numbered from 1, the state being 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("unexpected content of stat: %.40q", b)
	}
	u, err1 := strconv.ParseUint(fields[utime], 10, 64)
	s, err2 := strconv.ParseUint(fields[stime], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("unexpected times in stat: %q %q", fields[utime], fields[stime])
	}
	return float64(u+s) / clockTicks, nil
}

// parseStatus reads resident and peak resident memory of /proc/PID/status.
func parseStatus(b []byte) (rssKiB, peakKiB int64) {
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			rssKiB = n
		case "VmHWM":
			peakKiB = n
		}
	}
	return rssKiB, peakKiB
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

// usage is CPU time of this process, in seconds.
type usage float64

func ownUsage() usage {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return usage(float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9)
}
