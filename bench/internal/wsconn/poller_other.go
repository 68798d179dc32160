//go:build !linux

package wsconn

import (
	"errors"
	"net/netip"
)

var errNoEpoll = errors.New("the load generator needs Linux (epoll)")

// Poller is an epoll instance on Linux.
type Poller struct{}

// NewPoller fails: there is no epoll.
func NewPoller(int) (*Poller, error) { return nil, errNoEpoll }

// Close does nothing.
func (p *Poller) Close() {}

// FD is not a descriptor.
func (p *Poller) FD() int { return -1 }

// Nest fails.
func (p *Poller) Nest(*Poller) error { return errNoEpoll }

// Wait fails.
func (p *Poller) Wait(int64) (int, error) { return 0, errNoEpoll }

// Ready returns no socket.
func (p *Poller) Ready(int) (fd int, readable, writable bool) { return -1, false, false }

// PreciseTimers does nothing.
func PreciseTimers() func() { return func() {} }

func (p *Poller) add(int, bool) error              { return errNoEpoll }
func (p *Poller) modify(int, bool) error           { return errNoEpoll }
func dial(netip.AddrPort, netip.Addr) (int, error) { return -1, errNoEpoll }
func dialError(int) error                          { return errNoEpoll }
func receive(int, []byte) (int, error)             { return 0, errNoEpoll }
func send(int, []byte) (int, error)                { return 0, errNoEpoll }
func closeSocket(int)                              {}
func resetSocket(int)                              {}
