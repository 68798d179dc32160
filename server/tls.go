package server

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
func (s *Server) loadTLS() error {
	o := &s.opts
	if o.TLSCert == "" {
		return nil
	}
	var err error
	if s.certificate, err = loadCertificate(o, &s.stats.accessStats); err != nil {
		return err
	}
	if o.TLSMode == TLSNonBlocking {
		s.llibTLS = &tls.Config{
			GetCertificate: s.certificate.forLlib,
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			// Growing records would be cut at sizes that our joined writes do
			// not have.
			DynamicRecordSizingDisabled: true,
		}
		return nil
	}
	s.stdTLS = &stdtls.Config{
		GetCertificate: s.certificate.forStd,
		MinVersion:     stdtls.VersionTLS12,
		// A WebSocket begins as HTTP/1.1 (RFC 6455 section 4.1).
		NextProtos: []string{"http/1.1"},
	}
	if authorities := s.access.Authorities(); authorities != nil {
		// The authenticator verifies the certificate, and only where no token is
		// presented.
		s.stdTLS.ClientAuth = stdtls.RequestClientCert
		s.stdTLS.ClientCAs = authorities
	}
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

// readTLS decrypts what the poller has read and gives it to whoever reads the
// connection. Reading takes turns with writing, because it may write: alerts,
// key updates.
func readTLS(nbc *nbio.Conn, conn *tls.Conn, mu *sync.Mutex, data []byte) {
	// The poller's buffer is free for the plain text once llib has copied what
	// is in it, all of it: what just arrived may complete a far larger record.
	cipher, plain := data, data[:cap(data)]
	for {
		mu.Lock()
		_, n, err := conn.AppendAndRead(cipher, plain)
		mu.Unlock()
		cipher = nil
		// With the peer's good-bye comes the last it had to say.
		if n > 0 {
			parse(nbc, plain[:n])
		}
		if err != nil {
			_ = nbc.CloseWithError(err)
			return
		}
		if n == 0 {
			break
		}
	}
	mu.Lock()
	conn.ResetOrFreeBuffer()
	mu.Unlock()
}
