package client

import (
	"net"
	"sync/atomic"
	"time"
)

// batchSize is how many bytes a batchConn collects before it writes them
// unasked. More than this in one write gains nothing measurable.
const batchSize = 64 << 10

// batchConn lies between the WebSocket library, which writes every frame for
// itself, and the network: while it is held it collects what is written, so
// that many small frames cost one system call (and one TLS record's worth of
// waiting). Under TLS it holds the encrypted records.
type batchConn struct {
	net.Conn
	timeout time.Duration // for one write to the network
	made    time.Time
	heard   atomic.Int64 // when the last byte was received, in nanoseconds since made

	// turn holds one token; who has it may write to the network and touch what
	// follows. It keeps frames whole and in order. Only this connection's own
	// goroutines wait for it, and the timeout bounds how long.
	turn chan struct{}
	buf  []byte
	held bool
}

func newBatchConn(c net.Conn, timeout time.Duration) *batchConn {
	return &batchConn{Conn: c, timeout: timeout, made: time.Now(), turn: make(chan struct{}, 1)}
}

// silence is how long nothing was received. The wall clock may be set
// meanwhile.
func (b *batchConn) silence() time.Duration {
	return time.Since(b.made) - time.Duration(b.heard.Load())
}

// hold makes the following writes collect until release.
func (b *batchConn) hold() {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.held = true
}

// release writes what was collected and lets later writes through at once.
func (b *batchConn) release() error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.held = false
	return b.writeBatch()
}

// Write writes p or, while held, keeps a copy of it.
func (b *batchConn) Write(p []byte) (int, error) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if !b.held {
		return b.writeNow(p)
	}
	if len(b.buf)+len(p) > batchSize {
		if err := b.writeBatch(); err != nil {
			return 0, err
		}
		if len(p) >= batchSize {
			return b.writeNow(p)
		}
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// Read reads from the network and notes that the peer is alive.
func (b *batchConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if n > 0 {
		b.heard.Store(int64(time.Since(b.made)))
	}
	return n, err
}

// Close writes what was collected, if the network takes it, and closes the
// connection: the library closes right after its answer to a close frame.
func (b *batchConn) Close() error {
	select {
	case b.turn <- struct{}{}:
		if len(b.buf) > 0 && b.Conn.SetWriteDeadline(time.Now().Add(100*time.Millisecond)) == nil {
			_, _ = b.Conn.Write(b.buf) // best effort
			b.buf = b.buf[:0]
		}
		<-b.turn
	default: // a write is under way; closing ends it
	}
	return b.Conn.Close()
}

func (b *batchConn) writeBatch() error {
	if len(b.buf) == 0 {
		return nil
	}
	_, err := b.writeNow(b.buf)
	b.buf = b.buf[:0]
	return err
}

func (b *batchConn) writeNow(p []byte) (int, error) {
	if err := b.Conn.SetWriteDeadline(time.Now().Add(b.timeout)); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}
