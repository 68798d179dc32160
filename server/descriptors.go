package server

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exhausted reports whether an error means that the process or the machine has
// no descriptors, or no memory for them, at the moment.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// raiseDescriptorLimit raises the soft limit to the hard one, where that is
// allowed, and returns what holds.
func raiseDescriptorLimit() (int, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	if lim.Cur < lim.Max {
		raised := unix.Rlimit{Cur: lim.Max, Max: lim.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			lim = raised
		}
	}
	return int(min(lim.Cur, 1<<21)), nil
}

func descriptorLimit() (int, error) {
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
	return int(min(lim.Cur, 1<<21)), err
}
