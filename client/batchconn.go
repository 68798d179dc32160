package client

import (
	"net"
	"sync/atomic"
	"time"
)

// batchSize is how many bytes a batchConn collects before it writes them even
// while held. A larger write brings no measurable gain.
const batchSize = 64 << 10

// batchConn is between the WebSocket library, which writes each frame by
// itself, and the network. While a batchConn is held, it collects the written
// bytes, so that many small frames cost one system call. With TLS a batchConn
// collects encrypted records.
type batchConn struct {
	net.Conn
	timeout time.Duration // for one write to the network
	made    time.Time
	heard   atomic.Int64 // when the last byte was received, in nanoseconds since made

	// writeLock is a channel with room for one token; the goroutine that has
	// put the token in may write to the network and use the fields below. So
	// frames stay whole and in order. Only goroutines of this connection wait
	// for the lock, for at most the timeout.
	writeLock chan struct{}
	buf       []byte
	held      bool
}

func newBatchConn(c net.Conn, timeout time.Duration) *batchConn {
	return &batchConn{Conn: c, timeout: timeout, made: time.Now(), writeLock: make(chan struct{}, 1)}
}

// silence returns how long nothing has been received, by the monotonic clock:
// the wall clock may be changed meanwhile.
func (b *batchConn) silence() time.Duration {
	return time.Since(b.made) - time.Duration(b.heard.Load())
}

// hold starts collecting: writes wait until release.
func (b *batchConn) hold() {
	b.writeLock <- struct{}{}
	defer func() { <-b.writeLock }()
	b.held = true
}

// release writes the collected bytes; later writes go to the network at once.
func (b *batchConn) release() error {
	b.writeLock <- struct{}{}
	defer func() { <-b.writeLock }()
	b.held = false
	return b.writeBatch()
}

// Write writes p or, while held, keeps a copy of it.
func (b *batchConn) Write(p []byte) (int, error) {
	b.writeLock <- struct{}{}
	defer func() { <-b.writeLock }()
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

// Read reads from the network and notes the time.
func (b *batchConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if n > 0 {
		b.heard.Store(int64(time.Since(b.made)))
	}
	return n, err
}

// Close writes the collected bytes, if the network accepts them, and closes the
// connection: the library closes directly after it has answered a close frame.
func (b *batchConn) Close() error {
	select {
	case b.writeLock <- struct{}{}:
		if len(b.buf) > 0 && b.Conn.SetWriteDeadline(time.Now().Add(100*time.Millisecond)) == nil {
			_, _ = b.Conn.Write(b.buf) // best effort
			b.buf = b.buf[:0]
		}
		<-b.writeLock
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
