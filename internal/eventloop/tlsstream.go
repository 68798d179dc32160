package eventloop

import (
	"net"
	"time"
)

// tlsStream is llib's TLS on a connection that has left its poller: reads block,
// on one goroutine at a time.
type tlsStream struct {
	net.Conn // the socket
	tls      *tlsConn
	cipher   []byte
}

func newTLSStream(socket net.Conn, t *tlsConn) *tlsStream {
	t.mu.Lock()
	defer t.mu.Unlock()
	// llib never reads from the socket: what is missing is told, and appended.
	t.conn.ResetConn(socket, true)
	return &tlsStream{Conn: socket, tls: t, cipher: make([]byte, 4<<10)}
}

// Read returns plain text. The lock of the tlsConn is not held while the socket
// is read.
func (s *tlsStream) Read(b []byte) (int, error) {
	var arrived []byte
	for {
		s.tls.mu.Lock()
		_, n, err := s.tls.conn.AppendAndRead(arrived, b)
		if n == 0 && err == nil {
			s.tls.conn.ResetOrFreeBuffer()
		}
		s.tls.mu.Unlock()
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if n, err = s.Conn.Read(s.cipher); n == 0 {
			return 0, err
		}
		arrived = s.cipher[:n]
	}
}

// Write encrypts b and sends all of it.
func (s *tlsStream) Write(b []byte) (int, error) { return s.tls.write(b) }

// CloseWrite says good-bye.
func (s *tlsStream) CloseWrite() error {
	s.tls.mu.Lock()
	defer s.tls.mu.Unlock()
	return s.tls.conn.CloseWrite()
}

// Close says good-bye, if the peer takes that soon, and closes the socket.
func (s *tlsStream) Close() error {
	// Whoever is writing has had time for that.
	_ = s.Conn.SetWriteDeadline(time.Now())
	return s.tls.close()
}
