package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// send is the sender goroutine of one connection: send writes queued messages
// to the network, and joins the telemetry of one FlushInterval into one write.
// send ends with the connection.
func (l *link) send(c *conn, over <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	held := false      // the batchConn collects
	lingering := false // the collected bytes may wait until the timer fires
	prompt := false    // the collected bytes include text and must not wait
	for {
		msg, from, ok := l.queue.take(lingering && !prompt)
		if ok {
			if !held {
				c.net.hold()
				held = true
			}
			if err := c.write(msg, from); err != nil {
				c.sendFailed(err)
				return
			}
			if from == priorityTelemetry {
				l.queue.recycle(msg)
			}
			prompt = prompt || from == priorityText
			if from == priorityTelemetry && !prompt && !lingering && l.cfg.FlushInterval > 0 {
				lingering = true
				timer.Reset(l.cfg.FlushInterval)
			}
			if from != priorityUrgent { // urgent text leaves now, whatever else is queued
				continue
			}
		} else if lingering && !prompt {
			select {
			case <-over:
				return
			case <-l.queue.wake:
			case <-timer.C:
				prompt = true // together with telemetry that has arrived meanwhile
			}
			continue
		} else if !held {
			select {
			case <-over:
				return
			case <-l.queue.wake:
			}
			continue
		}
		held, lingering, prompt = false, false, false
		if err := c.net.release(); err != nil {
			c.sendFailed(err)
			return
		}
		l.queue.flushed()
	}
}

// sendFailed gives the reader a short time to find a close frame that explains
// the failure.
func (c *conn) sendFailed(err error) {
	if errors.Is(err, net.ErrClosed) {
		return // this side is closing already
	}
	err = fmt.Errorf("client: sending: %w", err)
	c.cause.CompareAndSwap(nil, &err)
	_ = c.net.SetReadDeadline(time.Now().Add(closePatience)) // fails only if closed
}

// write passes one message to the library. The batchConn's deadline limits the
// write, at less cost than a context.
func (c *conn) write(msg []byte, from priority) error {
	typ := websocket.MessageText
	if from == priorityTelemetry {
		typ = websocket.MessageBinary
	}
	return c.ws.Write(context.Background(), typ, msg)
}

// read reads messages until the connection ends; the error says why. The
// library answers pings and close frames, on this goroutine.
func (l *link) read(c *conn, expiring chan<- time.Duration) error {
	var buf bytes.Buffer
	var e protocol.Envelope
	for {
		typ, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if buf.Cap() > 1<<20 { // do not keep the buffer of one giant message
			buf = bytes.Buffer{}
		}
		buf.Reset()
		if _, err := io.Copy(&buf, r); err != nil {
			return err
		}
		if typ == websocket.MessageBinary {
			l.peer.binary(buf.Bytes())
			continue
		}
		if err := e.Parse(buf.Bytes()); err != nil {
			l.badMessages.Add(1)
			l.log.Warn().Err(err).Msg("message from the gateway is malformed; ignored")
			continue
		}
		if string(e.Type) == protocol.TypeClosing {
			l.noteClosing(e.Payload)
		}
		if l.noteRenewal(&e, expiring) {
			continue
		}
		l.peer.text(&e)
	}
}

// watch is the goroutine that detects a gateway that vanished without a packet.
// Normally the gateway sends pings. After one heartbeat interval of silence
// watch sends a ping; after two more intervals without an answer watch closes
// the connection.
func (l *link) watch(c *conn, over <-chan struct{}) {
	interval := time.Duration(c.welcome.HeartbeatMS) * time.Millisecond
	if interval <= 0 || interval > time.Hour {
		interval = 30 * time.Second
	}
	tick := time.NewTicker(max(interval, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		if c.net.silence() < interval {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*interval)
		err := c.ws.Ping(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			c.giveUp(errSilent)
		}
		if err != nil {
			return
		}
	}
}
