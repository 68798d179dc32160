package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy forwards connections between clients and a server. It can delay the
// clients' data, as a slow network does, and cut connections, as a failing
// network does.
type Proxy struct {
	tb       testing.TB
	listener net.Listener
	to       string
	done     sync.WaitGroup

	mu    sync.Mutex
	moved *sync.Cond // held or cut has changed, or the proxy is closed
	conns map[net.Conn]bool
	held  bool
	cut   bool
	ended bool
}

// StartProxy runs a proxy to an address.
func StartProxy(tb testing.TB, to string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{tb: tb, listener: l, to: to, conns: map[net.Conn]bool{}}
	p.moved = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr returns the address of the proxy's listener.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Hold delays the clients' data from now on until Release, even if the client
// closes its connection meanwhile.
func (p *Proxy) Hold() { p.set(func() { p.held = true }) }

// Release forwards the delayed data.
func (p *Proxy) Release() { p.set(func() { p.held = false }) }

// Cut breaks all connections and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.set(func() {
		p.cut = true
		for c := range p.conns {
			_ = c.Close()
		}
	})
}

// Mend allows connections again.
func (p *Proxy) Mend() { p.set(func() { p.cut = false }) }

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.moved.Broadcast()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.set(func() {
		p.ended = true
		for c := range p.conns {
			_ = c.Close()
		}
	})
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		refuse := p.cut || p.ended
		if !refuse {
			p.conns[client], p.conns[server] = true, true
		}
		p.mu.Unlock()
		if refuse {
			_ = client.Close()
			_ = server.Close()
			continue
		}
		p.done.Go(func() { p.forward(client, server) })
		p.done.Go(func() {
			_, _ = io.Copy(client, server)
			p.drop(client)
		})
	}
}

// forward forwards the client's data. The server's side is closed only after
// all data was sent.
func (p *Proxy) forward(client, server net.Conn) {
	defer p.drop(server)
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if n > 0 && p.pass() {
			if _, err := server.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the proxy delays data, and reports whether to continue.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && !p.cut && !p.ended {
		p.moved.Wait()
	}
	return !p.cut && !p.ended
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}
