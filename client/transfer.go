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

// send is the sender goroutine of one connection: it empties the queue into the
// network, joining the telemetry of FlushInterval into one write. It ends when
// the connection does.
func (l *link) send(c *conn, over <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	held := false      // the batchConn collects
	lingering := false // what it has collected may wait until the timer fires
	prompt := false    // it may not: there is text in it
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
			if from == laneTelemetry {
				l.queue.recycle(msg)
			}
			prompt = prompt || from == laneText
			if from == laneTelemetry && !prompt && !lingering && l.cfg.FlushInterval > 0 {
				lingering = true
				timer.Reset(l.cfg.FlushInterval)
			}
			if from != laneUrgent { // which goes now, whatever else is queued
				continue
			}
		} else if lingering && !prompt {
			select {
			case <-over:
				return
			case <-l.queue.wake:
			case <-timer.C:
				prompt = true // with what has come in the meantime
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

// sendFailed leaves the connection to the reader, which may still find a close
// frame that explains the failure, but not for long.
func (c *conn) sendFailed(err error) {
	if errors.Is(err, net.ErrClosed) {
		return // this side is closing already
	}
	err = fmt.Errorf("client: sending: %w", err)
	c.cause.CompareAndSwap(nil, &err)
	_ = c.net.SetReadDeadline(time.Now().Add(closePatience)) // fails only if closed
}

// write hands one message to the library. No context: the batchConn's deadline
// bounds it, at less cost.
func (c *conn) write(msg []byte, from lane) error {
	typ := websocket.MessageText
	if from == laneTelemetry {
		typ = websocket.MessageBinary
	}
	return c.ws.Write(context.Background(), typ, msg)
}

// read reads messages until the connection ends; the error says why. Pings and
// close frames are answered by the library, from this goroutine.
func (l *link) read(c *conn, expiring chan<- time.Duration) error {
	var buf bytes.Buffer
	var e protocol.Envelope
	for {
		typ, r, err := c.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if buf.Cap() > 1<<20 { // one giant message is not kept room for
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

// watch is the goroutine that notices a gateway that vanished without a packet.
// The gateway pings, but only this side can tell that it has stopped: after one
// interval of silence it asks, and two more without an answer are the end.
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
