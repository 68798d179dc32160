package eventloop

import (
	"net"
	"os"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// probe is a poller's connection to the gateway itself, which tells the
// beginning of a loop iteration.
type probe struct {
	nbc *nbio.Conn
	it  *iteration
}

func (p *probe) readable(nbc *nbio.Conn, _ *iteration, buf []byte) { readAvailable(nbc, buf) }
func (p *probe) received([]byte)                                   { p.it.next() }
func (p *probe) decrypted([]byte)                                  {}
func (p *probe) written(int)                                       {}
func (p *probe) accepted() bool                                    { return false }
func (p *probe) ended(error)                                       {}

// newIterations makes a probe for each poller of an engine that does not run
// yet.
func newIterations(n int) (iterations, error) {
	its := make(iterations, n)
	var surplus []*nbio.Conn
	defer func() {
		for _, c := range surplus {
			_ = c.Close()
		}
	}()
	for left := n; left > 0; {
		ours, pollers, err := newProbe()
		if err != nil {
			its.close()
			return nil, probeError(err)
		}
		// The poller follows from the descriptor's number. A probe on a poller
		// that has one already keeps its number until all pollers have one.
		i := pollers.Hash() % n
		if its[i] != nil {
			_ = unix.Close(ours)
			surplus = append(surplus, pollers)
			continue
		}
		it := &iteration{ours: ours}
		it.probe = &probe{nbc: pollers, it: it}
		pollers.SetSession(it.probe)
		its[i] = it
		left--
	}
	return its, nil
}

// start puts the probes on their pollers. Stopping the engine takes the
// pollers' ends away.
func (its iterations) start(e *nbio.Engine) error {
	for _, it := range its {
		if _, err := e.AddConn(it.probe.nbc); err != nil {
			return probeError(err)
		}
		var err error
		if it.epoll, err = epollOf(it.probe.nbc); err != nil {
			return err
		}
	}
	return nil
}

// newProbe returns both ends of a probe.
func newProbe() (ours int, pollers *nbio.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, nil, err
	}
	file := os.NewFile(uintptr(fds[1]), "probe")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err == nil {
		pollers, err = nbio.NBConn(conn)
	}
	if err != nil {
		_ = unix.Close(fds[0])
		return -1, nil, err
	}
	return fds[0], pollers, nil
}

// close gives back what the engine does not; it has stopped, or never started.
func (its iterations) close() {
	for _, it := range its {
		if it != nil {
			it.close()
		}
	}
}
