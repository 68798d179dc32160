package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxPID is PID_MAX_LIMIT of the kernel.
const maxPID = 4 << 20

// CPUTime is the user and system time of a process so far, in seconds, all
// threads together. /proc/PID/stat has the same in ticks of 10 ms, which is too
// coarse for a light load.
func CPUTime(pid int) (float64, error) {
	if pid < 1 || pid > maxPID {
		return 0, unix.ESRCH // the kernel would read another clock
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(cpuClock(pid), &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return float64(ts.Nano()) / 1e9, nil
}

// cpuClock is what clock_getcpuclockid(3) returns for a process.
func cpuClock(pid int) int32 {
	const sched = 2 // CPUCLOCK_SCHED
	return int32(^pid)<<3 | sched
}
