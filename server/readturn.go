package server

import (
	"errors"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// readsPerTurn bounds the reads of one connection before others get their turn:
// one peer that sends without a pause would hold its poller for ever.
const readsPerTurn = 4

// readTurn reads a connection that has something to be read; it takes nbio's
// own loop's place. nbio closes a connection whose peer has ended it when this
// returns, so such a connection is read to its end.
func readTurn(nbc *nbio.Conn, buf []byte) {
	for turn := 1; ; turn++ {
		_, n, err := nbc.ReadAndGetConn(&buf)
		if n > 0 {
			nbc.DataHandler()(nbc, buf[:n])
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
		case turn%readsPerTurn == 0 && !endedByPeer(nbc):
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
