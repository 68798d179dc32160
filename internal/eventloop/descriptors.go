package eventloop

import (
	"errors"

	"golang.org/x/sys/unix"
)

// descriptorReserve are the descriptors kept for anything but sessions and
// refused connections: listeners, pollers, files, and the second descriptor that
// a connection has for a moment when it is handed to a poller.
const descriptorReserve = 64

// fewConnections is less than the descriptors leave room for on any machine whose
// limit is the usual 1,024 or more.
const fewConnections = 256

// maxRefusing bounds the refused connections that are given time to read their
// answer; with few descriptors there are fewer.
const maxRefusing = 512

// Capacity is how many connections the file descriptors of the process allow.
type Capacity struct {
	// Connections may be let in; Refusing may be reading their answer.
	Connections, Refusing int
	// OpenFiles is the limit of open files that this follows from.
	OpenFiles int
}

// Few reports whether the limit of open files leaves room for fewer connections
// than an ordinary laboratory may have.
func (c Capacity) Few() bool { return c.Connections < fewConnections }

// RaiseCapacity raises the limit of open files as far as the system allows and
// returns what that allows.
func RaiseCapacity() (Capacity, error) {
	limit, err := raiseDescriptorLimit()
	if err != nil {
		return Capacity{}, err
	}
	return capacityOf(limit), nil
}

// capacityOf divides a limit of open files. With few of them refused connections
// get half of what the reserve leaves.
func capacityOf(limit int) Capacity {
	free := max(limit-descriptorReserve, 2)
	refusing := min(max(limit/32, 64), maxRefusing, free/2)
	return Capacity{Connections: free - refusing, Refusing: refusing, OpenFiles: limit}
}

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
