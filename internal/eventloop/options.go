package eventloop

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"math"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/panics"
)

// Options configures a Loop. All are required but TLS and what it needs.
type Options struct {
	LoopOptions
	TLSOptions

	// Listen is the public address, host:port; port 0 picks a free one. Several
	// listeners share it.
	Listen string
	// Authorities are those whose client certificates are asked for, nil: none
	// are. Whoever serves the handshake verifies the certificate. They need
	// blocking TLS.
	Authorities *x509.CertPool
	// CertificateInterval is how often the files of the certificate are looked
	// at; 0: every second.
	CertificateInterval time.Duration

	// MaxQueued is the most that a session may have queued, in bytes: a
	// connection that would buffer far more is closed.
	MaxQueued int
	// MaxUnsent is how many bytes the kernel may hold of a session's output
	// that it has not sent yet (TCP_NOTSENT_LOWAT).
	MaxUnsent int
	// MaxRefusing bounds the refused connections that are read until the peer
	// has noticed the refusal.
	MaxRefusing int

	// HandshakeTimeout is the time from accept to the finished handshake, and
	// for each request. WriteTimeout bounds a blocking connection's write.
	HandshakeTimeout, WriteTimeout time.Duration

	Admission Admission
	Handler   Handler
	Panics    *panics.Recoverer
	Logger    zerolog.Logger
	// Events is told of the certificate that was read again; nil for nobody.
	Events events.Listener
	// ErrorLog takes what net/http's server says of single connections.
	ErrorLog *log.Logger
}

// IOMode says how plain connections are served.
type IOMode string

const (
	// IONonBlocking: all connections share the pollers.
	IONonBlocking IOMode = "nonblocking"
	// IOBlocking: a reading and a writing goroutine for each connection.
	IOBlocking IOMode = "blocking"
	// IOMixed: the first MixedThreshold connections are blocking, the rest
	// share the pollers.
	IOMixed IOMode = "mixed"
)

// LoopOptions size the event loop.
type LoopOptions struct {
	// IOMode says how plain connections are served.
	IOMode         IOMode `option:"io-mode" default:"nonblocking" enum:"nonblocking,blocking,mixed" group:"io" help:"nonblocking: all connections share the pollers. blocking: two goroutines a connection. mixed: the first --mixed-threshold connections are blocking. For connections without TLS only; see --tls-mode."`
	MixedThreshold int    `option:"mixed-threshold" default:"256" min:"1" max:"1048576" group:"io" help:"Number of blocking connections in mixed mode; further connections share the pollers."`
	// Pollers is the number of event loops; Listeners that of sockets that
	// accept connections.
	Pollers   int `option:"pollers" default:"0" min:"0" max:"256" zero:"a quarter of the processors, at least one" group:"io" help:"Number of event loops. Each serves its share of the connections on one goroutine."`
	Listeners int `option:"listeners" default:"1" min:"1" max:"64" group:"io" help:"Number of sockets that accept connections at --listen (SO_REUSEPORT)."`
	// ReadBuffer is a poller's or a blocking connection's read buffer in bytes.
	ReadBuffer int `option:"read-buffer" default:"16384" min:"1024" max:"1048576" placeholder:"BYTES" group:"io" help:"Size of the read buffer of each event loop and of each blocking connection."`
}

// BlockingConnections returns how many connections at a time get goroutines of
// their own; all others share the pollers.
func (o *LoopOptions) BlockingConnections() int {
	switch o.IOMode {
	case IOBlocking:
		return math.MaxInt
	case IOMixed:
		return o.MixedThreshold
	}
	return 0
}

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
	TLSCert string  `option:"tls-cert" type:"path" placeholder:"FILE" group:"tls" help:"PEM file with the certificate chain; switches TLS on. The gateway reads this file and the key again when either changes; open connections continue."`
	TLSKey  string  `option:"tls-key" type:"path" placeholder:"FILE" group:"tls" help:"PEM file with the key of --tls-cert."`
	TLSMode TLSMode `option:"tls-mode" default:"blocking" enum:"blocking,nonblocking" group:"tls" help:"blocking: Go's own TLS 1.2 and 1.3, with two goroutines for each connection. nonblocking: llib's TLS on the pollers, which needs far less memory with thousands of connections, but is a fork of Go 1.16's crypto/tls: no post-quantum key exchange, no client certificates, and without the security fixes that crypto/tls has had since."`
}

// Check checks the modes and files against each other, and fills in what depends
// on the machine. Errors name the options.
func (o *LoopOptions) Check(tls *TLSOptions) error {
	if o.Pollers == 0 {
		o.Pollers = max(1, runtime.NumCPU()/4)
	}
	if (tls.TLSCert == "") != (tls.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key belong together; give both or none")
	}
	if tls.TLSCert != "" && tls.TLSMode == TLSNonBlocking && o.IOMode != IONonBlocking {
		return fmt.Errorf("--tls-mode nonblocking needs --io-mode nonblocking, not %s", o.IOMode)
	}
	return nil
}
