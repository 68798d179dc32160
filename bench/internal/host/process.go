package host

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// OwnCPUTime is the user and system time of this process so far, in seconds.
func OwnCPUTime() float64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// Memory is the resident memory of a process now and at its peak, in KiB.
func Memory(pid int) (rss, peak int64, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0, err
	}
	return parseStatus(string(b))
}

// parseStatus reads VmRSS and VmHWM of /proc/PID/status. A zombie has neither.
func parseStatus(status string) (rss, peak int64, err error) {
	found := false
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if name == "VmHWM" {
			peak = n
		} else {
			rss, found = n, true
		}
	}
	if !found {
		return 0, 0, errors.New("/proc/PID/status has no VmRSS: the process has ended")
	}
	return rss, peak, nil
}
