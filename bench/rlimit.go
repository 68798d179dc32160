package bench

import (
	"fmt"
	"syscall"
)

// spareFiles are descriptors that a run needs besides its connections:
// standard streams, epoll, /proc, the admin listener, the runtime's own.
const spareFiles = 64

// raiseFileLimit raises the soft limit of open files to the hard limit, and
// returns an error if the connections exceed it.
func raiseFileLimit(connections int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("bench: read the limit of open files: %w", err)
	}
	if lim.Cur < lim.Max {
		raised := syscall.Rlimit{Cur: lim.Max, Max: lim.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			lim = raised
		}
	}
	return checkFileLimit(connections, lim.Cur)
}

func checkFileLimit(connections int, limit uint64) error {
	if uint64(connections)+spareFiles > limit {
		return &optionError{"connections", fmt.Sprintf(
			"%d connections and %d spare files are more than the %d files that this process may open (RLIMIT_NOFILE); use at most %d, or several processes",
			connections, spareFiles, limit, max(int64(limit)-spareFiles, 0))}
	}
	return nil
}
