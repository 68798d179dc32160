package server

import (
	"fmt"
	"runtime"
)

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
	MixedThreshold int    `option:"mixed-threshold" default:"256" min:"1" max:"1048576" group:"io" help:"Blocking connections in mixed mode."`
	// Pollers is the number of event loops; Listeners that of sockets that
	// accept connections.
	Pollers   int `option:"pollers" default:"0" min:"0" max:"256" zero:"a quarter of the processors, at least one" group:"io" help:"Event loops."`
	Listeners int `option:"listeners" default:"1" min:"1" max:"64" group:"io" help:"Accepting sockets that share the port."`
	// ReadBuffer is a poller's or a blocking connection's read buffer in bytes.
	ReadBuffer int `option:"read-buffer" default:"16384" min:"1024" max:"1048576" placeholder:"BYTES" group:"io" help:"Read buffer of an event loop or a blocking connection."`
}

// prepareLoop fills in what depends on the machine and checks the modes against
// each other.
func (o *LoopOptions) prepareLoop(tls *TLSOptions) error {
	setDefault(&o.Pollers, max(1, runtime.NumCPU()/4))
	if tls.TLSCert != "" && tls.TLSMode == TLSNonBlocking && o.IOMode != IONonBlocking {
		return fmt.Errorf("--tls-mode nonblocking needs --io-mode nonblocking, not %s", o.IOMode)
	}
	return nil
}
