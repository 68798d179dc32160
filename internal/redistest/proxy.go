package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server. It can hold up what the client
// sends, as a network does that delays, and cut connections, as one does that
// fails.
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

// StartProxy runs a proxy to the address given.
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

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Hold keeps what clients send from now on until Release, even if the client
// closes its connection meanwhile.
func (p *Proxy) Hold() { p.set(func() { p.held = true }) }

// Release sends on what was held.
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

// Mend lets connections through again.
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

// forward sends on what the client sends. The server's side is closed only when
// all of it is sent.
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

// pass waits while the proxy holds, and reports whether to go on.
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
