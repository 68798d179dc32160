//go:build linux

package wsconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection and the server's end of it.
func pair(t *testing.T) (*Poller, *Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	poll, err := NewPoller(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poll.Close)
	c := &Conn{}
	if err := c.Open(poll, netip.MustParseAddrPort(ln.Addr().String()), netip.MustParseAddr("127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(true) })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if _, w := await(t, poll, c); !w {
		t.Fatal("connected and not writable")
	}
	if err := c.Dialled(); err != nil {
		t.Fatal(err)
	}
	if got, want := server.RemoteAddr().(*net.TCPAddr).IP.String(), "127.0.0.2"; got != want {
		t.Errorf("connected from %s, want %s", got, want)
	}
	return poll, c, server.(*net.TCPConn)
}

// await waits for the connection to be ready for something.
func await(t *testing.T, poll *Poller, c *Conn) (readable, writable bool) {
	t.Helper()
	n, err := poll.Wait(int64(10 * time.Second))
	if err != nil || n != 1 {
		t.Fatalf("%d sockets are ready: %v", n, err)
	}
	fd, r, w := poll.Ready(0)
	if fd != c.FD() {
		t.Fatalf("descriptor %d is ready, not %d", fd, c.FD())
	}
	return r, w
}

// TestUnsent: bytes that the kernel does not accept are sent later, complete
// and in order.
func TestUnsent(t *testing.T) {
	poll, c, server := pair(t)
	const limit = 32 << 20
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sent := 0
	for ; !c.Full(); sent += len(block) {
		if err := c.Write(block, limit); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Write(block, limit); err != nil {
		t.Fatal(err)
	}
	sent += len(block)
	if err := c.Write(make([]byte, limit), limit); err == nil || !strings.Contains(err.Error(), "does not read") {
		t.Errorf("above the limit: %v", err)
	}
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(server, int64(sent)))
		got <- b
	}()
	for done := false; !done; {
		if _, w := await(t, poll, c); !w {
			t.Fatal("unsent bytes and not writable")
		}
		var err error
		if done, err = c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if b := <-got; len(b) != sent || !bytes.Equal(b, bytes.Repeat(block, sent/len(block))) {
		t.Errorf("%d bytes arrived, %d were sent; or they differ", len(b), sent)
	}
	if n, err := poll.Wait(0); n != 0 || err != nil {
		t.Errorf("%d sockets are ready with nothing unsent: %v", n, err)
	}
}

// TestUnread: the kept end of a read comes before the bytes of the next read,
// in a buffer that grows to its limit.
func TestUnread(t *testing.T) {
	poll, c, server := pair(t)
	buf := NewBuffer(4, 8)
	if data, n, err := c.Read(&buf); len(data) != 0 || n != 0 || err != nil {
		t.Errorf("nothing has arrived: %q, %d, %v", data, n, err)
	}
	next := func(send, want string) {
		t.Helper()
		if _, err := io.WriteString(server, send); err != nil {
			t.Fatal(err)
		}
		if r, _ := await(t, poll, c); !r {
			t.Fatal("not readable")
		}
		data, n, err := c.Read(&buf)
		if string(data) != want || n != len(send) || err != nil {
			t.Fatalf("%q, %d, %v; want %q", data, n, err, want)
		}
		c.Keep(data)
	}
	next("abc", "abc")
	next("d", "abcd")
	next("ef", "abcdef") // the buffer has grown
	next("gh", "abcdefgh")
	if _, _, err := c.Read(&buf); err == nil || !strings.Contains(err.Error(), "more than 8 bytes") {
		t.Errorf("a full buffer: %v", err)
	}
	c.Keep(nil)
	if c.Unread() != 0 {
		t.Errorf("%d bytes are kept", c.Unread())
	}
	_ = server.CloseWrite()
	_, _ = await(t, poll, c)
	if _, _, err := c.Read(&buf); !errors.Is(err, ErrEnded) {
		t.Errorf("the end: %v", err)
	}
}

func TestNestedPoller(t *testing.T) {
	poll, c, server := pair(t)
	outer, err := NewPoller(4)
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	if err := outer.Nest(poll); err != nil {
		t.Fatal(err)
	}
	if n, err := outer.Wait(int64(time.Millisecond)); n != 0 || err != nil {
		t.Errorf("%d are ready: %v", n, err)
	}
	_, _ = server.Write([]byte("x"))
	n, err := outer.Wait(int64(10 * time.Second))
	if err != nil || n != 1 {
		t.Fatalf("%d are ready: %v", n, err)
	}
	if fd, r, _ := outer.Ready(0); fd != poll.FD() || !r {
		t.Errorf("descriptor %d, readable %v; want the inner poller", fd, r)
	}
	if r, _ := await(t, poll, c); !r {
		t.Error("not readable")
	}
}

// TestClose: FIN is an end, RST an error for the peer.
func TestClose(t *testing.T) {
	for _, reset := range []bool{false, true} {
		_, c, server := pair(t)
		c.Close(reset)
		c.Close(reset)
		if _, err := server.Read(make([]byte, 1)); errors.Is(err, io.EOF) == reset {
			t.Errorf("reset %v: the peer reads %v", reset, err)
		}
		if c.FD() != -1 || c.Full() {
			t.Errorf("reset %v: descriptor %d, unsent bytes %v", reset, c.FD(), c.Full())
		}
	}
}

func TestRefusedConnection(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	poll, err := NewPoller(1)
	if err != nil {
		t.Fatal(err)
	}
	defer poll.Close()
	var c Conn
	if err := c.Open(poll, addr, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	defer c.Close(true)
	_, _ = await(t, poll, &c)
	if err := c.Dialled(); err == nil {
		t.Error("connected to a port without a listener")
	}
}
