package eventloop

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestResetBeforeHandOver resets a connection when its request has been read,
// before it leaves its poller: no connection may leave without the address of its
// peer, whose place could not be given back.
func TestResetBeforeHandOver(t *testing.T) {
	l, _ := serve(t, 0, func(http.ResponseWriter, *http.Request) {})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	nbc, err := l.pollerConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	l.iterations.of(nbc).do(func() {
		defer close(done)
		if err := l.addConn(nbc, departed{}); err != nil {
			t.Error(err)
			return
		}
		_ = peer.(*net.TCPConn).SetLinger(0)
		_ = peer.Close()
		for end := time.Now().Add(patience); !endedByPeer(nbc) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		socket, err := l.detach(&httpConn{loop: l, nbc: nbc})
		if !errors.Is(err, errGone) {
			t.Errorf("%v, %v", socket, err)
		}
	}, func() { close(done) })
	<-done
}
