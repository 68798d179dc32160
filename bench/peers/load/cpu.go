//go:build linux

package load

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// clockTicks is USER_HZ, the unit of CPU times in /proc: 100 on every Linux.
const clockTicks = 100

// ownCPU is the CPU time of this process so far, in seconds.
func ownCPU() float64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// machineCPU is the CPU time of all processes so far, in seconds, and what the
// hypervisor took. Interrupts, which network traffic causes, are not in it.
func machineCPU() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachine(string(b))
}

// parseMachine reads the first line of /proc/stat: "cpu", then user, nice,
// system, idle, iowait, irq, softirq and steal time.
func parseMachine(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("unexpected first line of /proc/stat: %.80q", line)
	}
	var ticks uint64
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / clockTicks, nil
}
