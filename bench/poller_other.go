//go:build !linux

package bench

import (
	"errors"
	"net/netip"
)

var errNoEpoll = errors.New("bench: the load generator needs Linux (epoll)")

type poller struct{ fd int }

func newPoller(int) (*poller, error)                      { return nil, errNoEpoll }
func (p *poller) close()                                  {}
func (p *poller) wait(int64) (int, error)                 { return 0, errNoEpoll }
func (p *poller) ready(int) (fd int, r, w bool)           { return 0, false, false }
func (p *poller) add(int, bool) error                     { return errNoEpoll }
func (p *poller) modify(int, bool) error                  { return errNoEpoll }
func sockConnect(netip.AddrPort, netip.Addr) (int, error) { return -1, errNoEpoll }
func sockError(int) error                                 { return errNoEpoll }
func sockRead(int, []byte) (int, error)                   { return 0, errNoEpoll }
func sockWrite(int, []byte) (int, error)                  { return 0, errNoEpoll }
func sockClose(int)                                       {}
func sockReset(int)                                       {}
func preciseTimers() func()                               { return func() {} }
