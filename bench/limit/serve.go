//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/bench/internal/host"
)

const (
	maxMessage = 1 << 20
	maxUnsent  = 64 << 20 // nbio's queue of one connection; beyond it nbio closes
	maxHeader  = 16 << 10 // of a handshake
	maxPollers = 64
)

// ServeReport is printed when relay, echo or idle ends.
type ServeReport struct {
	Case      string  `json:"case"` // "relay", "echo", "idle"
	Seconds   float64 `json:"seconds"`
	Accepted  int64   `json:"accepted"`  // WebSocket connections in all
	Received  int64   `json:"received"`  // messages
	Forwarded int64   `json:"forwarded"` // of these, handed to a write
	// Dropped messages had no receiver, or their write failed.
	Dropped  int64   `json:"dropped"`
	CPUShare float64 `json:"cpu_share"` // of one core
	Host     Host    `json:"host"`
}

// app is what a server does with its connections. The session is whatever it
// wants to know a connection by.
type app interface {
	// admit is asked before the upgrade; an error refuses the connection.
	admit(path string) (session any, err error)
	opened(session any, c *websocket.Conn)
	message(c *websocket.Conn, typ websocket.MessageType, data []byte)
	// closed follows admit, also when the upgrade failed.
	closed(session any)
}

// runServe serves one of the nbio cases until a signal, or until it has run
// for long enough.
func runServe(ctx context.Context, name string, args []string, out, log io.Writer) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	listenAt := fs.String("listen", "127.0.0.1:0", "loopback `address`; port 0 picks a free one")
	pollers := fs.Int("pollers", 1, "event loops")
	readBuf := fs.Int("read-buffer", 16<<10, "read buffer of an event loop, in bytes")
	duration := fs.Duration("duration", 15*time.Minute, "end of the run, if no signal ends it before")
	asJSON := fs.Bool("json", false, "print the report as one line of JSON")
	if err := parse(fs, args, log); err != nil {
		return err
	}
	addr, err := loopback("listen", *listenAt)
	if err = errors.Join(err, within("pollers", *pollers, 1, maxPollers), within("read-buffer", *readBuf, 1<<10, 16<<20)); err != nil {
		return err
	}
	// A poller that sleeps in the kernel holds a P: with none to spare
	// everything else would wait until the scheduler notices.
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= *pollers {
		runtime.GOMAXPROCS(*pollers + 1)
	}
	var count counters
	apps := map[string]app{"relay": newRelay(&count), "echo": &echo{&count}, "idle": &idle{&count}}
	e, err := newEngine(addr.String(), *pollers, *readBuf, apps[name], &count)
	if err != nil {
		return err
	}
	if err := e.Start(); err != nil {
		return err
	}
	begun, cpu := time.Now(), host.OwnCPUTime()
	_, _ = fmt.Fprintf(log, `{"case":%q,"listen":%q,"message":"ready"}`+"\n", name, e.Addrs[0])
	select {
	case <-ctx.Done():
	case <-time.After(*duration):
	}
	stop, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = e.Shutdown(stop) // the process ends anyway
	r := ServeReport{
		Case: name, Seconds: time.Since(begun).Seconds(), Accepted: count.accepted.Load(),
		Received: count.received.Load(), Forwarded: count.forwarded.Load(), Dropped: count.dropped.Load(), Host: hostInfo(),
	}
	r.CPUShare = (host.OwnCPUTime() - cpu) / r.Seconds
	if *asJSON {
		return writeJSON(out, r)
	}
	_, err = fmt.Fprintf(out, "%s: %d connections, %d messages in, %d out, %d dropped\n", name, r.Accepted, r.Received, r.Forwarded, r.Dropped)
	return err
}

// newEngine configures nbio at its best for small messages on few cores.
func newEngine(addr string, pollers, readBuf int, a app, count *counters) (*nbhttp.Engine, error) {
	logging.SetLevel(logging.LevelNone)
	mempool.DefaultMemPool = mempool.New(256, 64<<10) // the default keeps buffers of up to 1 GiB
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	nbio.MaxOpenFiles = min(nbio.MaxOpenFiles, int(lim.Cur))
	u := websocket.NewUpgrader()
	e := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{addr}, NPoller: pollers,
		// The parser moves the rest of the buffer down once for each frame:
		// a small buffer halves its CPU time when frames come in bulk.
		ReadBufferSize: readBuf,
		// With the default of 3, the tail of what a peer wrote before it
		// closed would be lost.
		MaxConnReadTimesPerEventLoop: 1 << 30,
		MaxWriteBufferSize:           maxUnsent,
		MaxHTTPBodySize:              1,
		ReadLimit:                    maxHeader + maxMessage + readBuf,
		KeepaliveTime:                10 * time.Second, // for the handshake
		// Handlers on the poller: nothing here waits, and a hand-over would
		// cost more than the message.
		ServerExecutor:          func(f func()) { f() },
		SupportServerOnly:       true,
		ReleaseWebsocketPayload: true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serve(u, a, count, w, r)
		}),
	})
	u.Engine = e
	u.KeepaliveTime = 0 // a timer for each connection, reset by each message
	u.MessageLengthLimit = maxMessage
	u.CheckOrigin = func(*http.Request) bool { return true }
	u.OnMessage(a.message)
	u.OnClose(func(c *websocket.Conn, _ error) { a.closed(c.Session()) })
	return e, nil
}

// serve upgrades one request. It runs on the connection's poller, so no
// message comes before it returns.
func serve(u *websocket.Upgrader, a app, count *counters, w http.ResponseWriter, r *http.Request) {
	session, err := a.admit(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		a.closed(session)
		return // nbio has answered
	}
	c.SetSession(session)
	count.accepted.Add(1)
	a.opened(session, c)
}
