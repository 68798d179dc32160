package server

import (
	stdtls "crypto/tls"
	"fmt"

	"github.com/lesismal/llib/std/crypto/tls"
)

// loadTLS reads certificate and key for the mode that is set.
func (s *Server) loadTLS() error {
	o := &s.opts
	if o.TLSCert == "" {
		return nil
	}
	if o.TLSMode == TLSNonBlocking {
		cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
		if err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		s.llibTLS = &tls.Config{
			Certificates: []tls.Certificate{cert},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"},
			// Growing records would be cut at sizes that our joined writes do
			// not have.
			DynamicRecordSizingDisabled: true,
		}
		return nil
	}
	cert, err := stdtls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	s.stdTLS = &stdtls.Config{
		Certificates: []stdtls.Certificate{cert},
		MinVersion:   stdtls.VersionTLS12,
		// A WebSocket begins as HTTP/1.1 (RFC 6455 section 4.1).
		NextProtos: []string{"http/1.1"},
	}
	return nil
}
