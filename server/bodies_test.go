package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestContinue waits for 100 before the body is sent, as clients do that give a
// gateway a second to say it: the body is asked for at once.
func TestContinue(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		conn := g.dial()
		in := bufio.NewReader(conn)
		for range 3 {
			r := postCommand("d", `{"type":"test.start"}`)
			head, body, _ := strings.Cut(r, "\r\n\r\n")
			write(t, conn, head+"\r\nExpect: 100-continue\r\n\r\n")
			if status, _ := readAnswer(t, conn, in, "POST"); status != 100 {
				t.Fatalf("%d before the body", status)
			}
			write(t, conn, body)
			c := dev.await("test.start")
			dev.text(`{"type":"test.started","re":%q}`, c.ID)
			if status, body := readAnswer(t, conn, in, "POST"); status != 200 || !strings.Contains(body, "test.started") {
				t.Fatalf("%d %s", status, body)
			}
		}
	})
}

// TestUnwantedBodiesInMemory sends large bodies to where nobody wants them, over
// many connections at once: they are not kept, not even for a moment.
func TestUnwantedBodiesInMemory(t *testing.T) {
	const connections, size = 64, 1 << 20
	body := strings.Repeat("x", size)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			g := start(t, m, nil)
			before := heapInUse()
			var conns []net.Conn
			for range connections {
				conn := g.dial()
				_ = conn.SetWriteDeadline(time.Now().Add(patience))
				// The last byte is kept back.
				_, _ = io.WriteString(conn, fmt.Sprintf("POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", size+1)+body)
				conns = append(conns, conn)
			}
			if grown := int64(heapInUse()) - int64(before); grown > connections*size/4 {
				t.Errorf("%d bytes are kept of %d that nobody wants", grown, connections*size)
			}
			for _, conn := range conns {
				conn.Close()
			}
			g.eventually("all connections are closed", func() bool { return g.admission.Counters().Connections.Load() == 0 })
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapInuse
}

// TestBodiesAtOnce has many peers send large bodies that are wanted, and stop
// before their end: what is beyond the bound is refused, and when they are gone
// there is room again.
func TestBodiesAtOnce(t *testing.T) {
	const size, peers = 1 << 20, 80
	g := start(t, modes[0], func(o *Options) { o.HandshakeTimeout = patience })
	part := strings.Repeat("x", size-1)
	var conns []net.Conn
	refused := make(chan string, peers)
	for range peers {
		conn := g.dial()
		conns = append(conns, conn)
		_ = conn.SetDeadline(time.Now().Add(patience))
		go func() {
			answer := make([]byte, len("HTTP/1.1 503"))
			if _, err := io.ReadFull(conn, answer); err == nil {
				refused <- string(answer)
			}
		}()
		_, _ = io.WriteString(conn, fmt.Sprintf("POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)+part)
	}
	select {
	case answer := <-refused:
		if answer != "HTTP/1.1 503" {
			t.Error(answer)
		}
	case <-time.After(patience):
		t.Errorf("%d MiB were taken at once", peers)
	}
	for _, conn := range conns {
		conn.Close()
	}
	g.eventually("there is room again", func() bool {
		status, _, err := g.tryCall("POST", "/v1/broadcast", `{"type":"a.b","payload":"`+strings.Repeat("x", size/2)+`"}`)
		return err == nil && status == 200
	})
}
