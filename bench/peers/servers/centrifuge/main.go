// Command centrifuge is a small server with the centrifuge library: clients
// subscribe to channels and publish into them, and nothing is stored.
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
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "loopback `address`")
	delay := flag.Duration("write-delay", 0, "ConnectReply.WriteDelay: how long a connection's writer collects messages")
	frame := flag.Int("max-messages-in-frame", 0, "ConnectReply.MaxMessagesInFrame; 0: the library's default, 16; -1: no limit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ln, err := net.Listen("tcp", *listen)
	if err == nil {
		err = serve(ctx, ln, centrifuge.ConnectReply{
			Credentials: &centrifuge.Credentials{}, // anonymous
			WriteDelay:  *delay, MaxMessagesInFrame: *frame,
		})
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge:", err)
		os.Exit(1)
	}
}

// serve ends with ctx.
func serve(ctx context.Context, ln net.Listener, reply centrifuge.ConnectReply) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) { return reply, nil })
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, cb centrifuge.SubscribeCallback) {
			cb(centrifuge.SubscribeReply{}, nil)
		})
		// The library publishes by itself, and without history, when the
		// reply is empty.
		c.OnPublish(func(_ centrifuge.PublishEvent, cb centrifuge.PublishCallback) { cb(centrifuge.PublishReply{}, nil) })
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:        func(*http.Request) bool { return true },
		UseWriteBufferPool: true, // saves a buffer for each connection
	}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	left, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(node.Shutdown(left), server.Close())
}
