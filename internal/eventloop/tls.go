package eventloop

import (
	stdtls "crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
)

// loadTLS reads certificate and key for the mode that is set. Neither
// configuration sets session ticket keys: then TLS makes its own, and another
// each day.
func (l *Loop) loadTLS() error {
	o := &l.opts
	if o.TLSCert == "" {
		return nil
	}
	var err error
	if l.certificate, err = loadCertificate(o, &l.counters, l.log); err != nil {
		return err
	}
	if o.TLSMode == TLSNonBlocking {
		l.llibTLS = &tls.Config{
			GetCertificate: l.certificate.forLlib,
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			// Growing records would be cut at sizes that our joined writes do
			// not have.
			DynamicRecordSizingDisabled: true,
		}
		return nil
	}
	l.stdTLS = &stdtls.Config{
		GetCertificate: l.certificate.forStd,
		MinVersion:     stdtls.VersionTLS12,
		// A WebSocket begins as HTTP/1.1 (RFC 6455 section 4.1).
		NextProtos: []string{"http/1.1"},
	}
	if o.Authorities != nil {
		l.stdTLS.ClientAuth = stdtls.RequestClientCert
		l.stdTLS.ClientCAs = o.Authorities
	}
	return nil
}

// tlsConn is llib's TLS on a poller connection. It is made for the connection's
// first request and goes on with the session, or with tlsStream.
type tlsConn struct {
	conn *tls.Conn
	// mu serialises reading, writing and closing of conn, which is not safe
	// otherwise. Nothing blocks under it: below is nbio, which queues.
	mu sync.Mutex
}

func (t *tlsConn) write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.Write(b)
}

func (t *tlsConn) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.Close()
}

// decrypt decrypts what the poller has read and gives it to the kind that the
// connection is then. An error is the end of the connection. Reading takes turns
// with writing, because it may write: alerts, key updates.
func (t *tlsConn) decrypt(nbc *nbio.Conn, data []byte) error {
	// The poller's buffer is free for the plain text once llib has copied what
	// is in it, all of it: what just arrived may complete a far larger record.
	cipher, plain := data, data[:cap(data)]
	for {
		t.mu.Lock()
		_, n, err := t.conn.AppendAndRead(cipher, plain)
		t.mu.Unlock()
		cipher = nil
		// With the peer's good-bye comes the last it had to say.
		if n > 0 {
			connOf(nbc).decrypted(plain[:n])
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	t.mu.Lock()
	t.conn.ResetOrFreeBuffer()
	t.mu.Unlock()
	return nil
}

// countingConn counts the records that llib's TLS hands to nbio.
type countingConn struct {
	*nbio.Conn
	unsent *atomic.Int64
}

// Write counts b as unsent and hands it on.
func (w *countingConn) Write(b []byte) (int, error) {
	w.unsent.Add(int64(len(b)))
	return w.Conn.Write(b)
}

// SetWriteDeadline does nothing. llib sets deadlines around its good-bye, which
// never waits here: nbio would close the connection at them, on a goroutine that
// is not the poller's (see closeOnPoller).
func (w *countingConn) SetWriteDeadline(time.Time) error { return nil }

// Close has the poller close the connection below.
func (w *countingConn) Close() error {
	closeOnPoller(w.Conn)
	return nil
}
