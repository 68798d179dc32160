package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// clockTicks is USER_HZ, the unit of CPU times in /proc/stat: 100 on every Linux.
const clockTicks = 100

// BusyCPUTime is the CPU time of all processes so far, in seconds, with the
// time that the hypervisor took. Interrupts, which network traffic causes, do
// not count.
func BusyCPUTime() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(b))
}

// parseBusy reads the first line of /proc/stat: "cpu", then user, nice, system,
// idle, iowait, irq, softirq and steal time.
func parseBusy(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("unexpected first line of /proc/stat: %.80q", line)
	}
	const user, nice, system, steal = 1, 2, 3, 8
	var ticks uint64
	for _, i := range []int{user, nice, system, steal} {
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / clockTicks, nil
}
