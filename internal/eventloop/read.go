package eventloop

import (
	"errors"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// readsPerIteration bounds the reads of one connection before others are served:
// one peer that sends without a pause would hold its poller for ever.
const readsPerIteration = 4

// readAvailable reads a connection that has something to be read; it takes the
// place of nbio's own loop. nbio closes a connection whose peer has ended it when
// this returns, so such a connection is read to its end.
func readAvailable(nbc *nbio.Conn, buf []byte) {
	for reads := 1; ; reads++ {
		_, n, err := nbc.ReadAndGetConn(&buf)
		if n > 0 {
			// The kind of the connection may change from one read to the next.
			connOf(nbc).received(buf[:n])
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			_ = nbc.CloseWithError(err)
			return
		case n < len(buf):
			return
		case reads%readsPerIteration == 0 && !endedByPeer(nbc):
			// The poller comes back: what is left makes it ready again.
			return
		}
	}
}

// endedByPeer reports whether the peer has closed its side of the connection.
// When in doubt it has.
func endedByPeer(nbc *nbio.Conn) bool {
	nbc.Lock()
	defer nbc.Unlock()
	if closed, _ := nbc.IsClosed(); closed {
		return true
	}
	info, err := unix.GetsockoptTCPInfo(nbc.Hash(), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return true
	}
	switch info.State {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2:
		return false
	}
	return true
}
