// Command melody is a hub with two goroutines for each connection, on melody
// and gorilla/websocket, in the form in which melody's examples have it.
//
//	/hub              what one connection sends goes to all the others
//	/pair/K/send      what comes from here goes to /pair/K/receive
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/olahol/melody"

	"github.com/labgate/labgate/bench/peers/wire"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "loopback `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ln, err := net.Listen("tcp", *listen)
	if err == nil {
		err = serve(ctx, ln)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "melody:", err)
		os.Exit(1)
	}
}

// Keys of a session.
const (
	keyPair = "pair" // what it sends goes there; absent: to all
	keyOwn  = "own"  // of a receiver of a pair
)

// serve ends with ctx.
func serve(ctx context.Context, ln net.Listener) error {
	m := melody.New()
	m.Upgrader.WriteBufferPool = &sync.Pool{} // saves a buffer for each connection
	var receivers sync.Map                    // *melody.Session by key of the pair
	m.HandleConnect(func(s *melody.Session) {
		if key, ok := s.Get(keyOwn); ok {
			receivers.Store(key, s)
		}
		_ = s.Write([]byte(wire.Greeting)) // registered: nothing is missed from here on
	})
	m.HandleDisconnect(func(s *melody.Session) {
		if key, ok := s.Get(keyOwn); ok {
			receivers.CompareAndDelete(key, s)
		}
	})
	m.HandleMessageBinary(func(s *melody.Session, msg []byte) { _ = m.BroadcastBinaryOthers(msg, s) })
	m.HandleMessage(func(s *melody.Session, msg []byte) {
		key, ok := s.Get(keyPair)
		if !ok {
			_ = m.BroadcastOthers(msg, s)
			return
		}
		if to, ok := receivers.Load(key); ok {
			_ = to.(*melody.Session).Write(msg)
		}
	})

	mux := http.NewServeMux()
	handle := func(pattern, role string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			keys := map[string]any{}
			if role != "" {
				keys[role] = r.PathValue("key")
			}
			_ = m.HandleRequestWithKeys(w, r, keys) // melody has answered
		})
	}
	handle("GET /hub", "")
	handle("GET /pair/{key}/send", keyPair)
	handle("GET /pair/{key}/receive", keyOwn)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	return errors.Join(m.Close(), server.Close()) // melody's first: its connections are not the server's
}
