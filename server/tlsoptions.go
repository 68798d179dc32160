package server

import "errors"

// TLSMode says which implementation serves TLS.
type TLSMode string

const (
	// TLSBlocking: the standard library's TLS, a reading and a writing
	// goroutine for each connection.
	TLSBlocking TLSMode = "blocking"
	// TLSNonBlocking: llib's TLS on the pollers, a fork of Go 1.16's.
	TLSNonBlocking TLSMode = "nonblocking"
)

// TLSOptions switch TLS on.
type TLSOptions struct {
	// TLSCert and TLSKey are PEM files; both or none.
	TLSCert string  `option:"tls-cert" type:"path" placeholder:"FILE" group:"tls" help:"PEM file with the certificate chain; switches TLS on. The gateway reads this file and the key again when either changes; open connections stay."`
	TLSKey  string  `option:"tls-key" type:"path" placeholder:"FILE" group:"tls" help:"PEM file with the key of --tls-cert."`
	TLSMode TLSMode `option:"tls-mode" default:"blocking" enum:"blocking,nonblocking" group:"tls" help:"blocking: Go's own TLS, 1.2 and 1.3, two goroutines a connection. nonblocking: llib's TLS on the pollers, far less memory with thousands of connections, but a fork of Go 1.16's crypto/tls: no post-quantum key exchange, no client certificates, and without the security fixes that crypto/tls has had since."`
}

func (o *TLSOptions) checkTLS() error {
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key belong together; give both or none")
	}
	return nil
}
