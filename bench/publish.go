package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// PublishResult is what a Redis passes on when nothing else is asked of it.
type PublishResult struct {
	Size      int     `json:"size"` // bytes of a message
	Seconds   float64 `json:"seconds"`
	Messages  uint64  `json:"messages"`
	PerSecond float64 `json:"per_s"`
}

const (
	// publishPipeline is how many PUBLISH commands are under way at once, more
	// than redis-benchmark's fifty connections have.
	publishPipeline = 256
	publishTimeout  = 5 * time.Second // of anything that Redis is asked
)

// measurePublish publishes over one connection and receives over another, for
// Options.StepDuration.
func measurePublish(ctx context.Context, o *Options) (*PublishResult, error) {
	if _, err := parseTarget(ctx, "redis-addr", o.Redis, o.AllowRemote); err != nil {
		return nil, err
	}
	channel := o.Prefix + "-publish"
	sub, err := dialRedis(ctx, o.Redis)
	if err != nil {
		return nil, err
	}
	defer sub.conn.Close()
	pub, err := dialRedis(ctx, o.Redis)
	if err != nil {
		return nil, err
	}
	defer pub.conn.Close()
	if err := sub.subscribe(channel); err != nil {
		return nil, err
	}
	message := bytes.Repeat([]byte("x"), o.textSize())
	received := make(chan receipt, 1)
	go func() { received <- sub.receive(channel, message) }()
	begun := time.Now()
	sent, err := pub.publish(ctx, channel, message, begun.Add(o.StepDuration))
	if err != nil {
		return nil, err
	}
	// One of another size tells the receiver that this was all.
	if err := pub.call("PUBLISH", channel, "end"); err != nil {
		return nil, err
	}
	got := <-received
	seconds := time.Since(begun).Seconds()
	if got.err != nil {
		return nil, got.err
	}
	if got.n != sent {
		return nil, fmt.Errorf("bench: Redis passed on %d of %d messages", got.n, sent)
	}
	return &PublishResult{Size: len(message), Seconds: seconds, Messages: got.n, PerSecond: float64(got.n) / seconds}, nil
}

// receipt is what a subscriber got.
type receipt struct {
	n   uint64
	err error
}

// redisConn is a connection to Redis that speaks RESP2, and of that what this
// takes.
type redisConn struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRedis(ctx context.Context, addr string) (*redisConn, error) {
	d := net.Dialer{Timeout: publishTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &optionError{"redis-addr", err.Error()}
	}
	return &redisConn{conn: conn, in: bufio.NewReaderSize(conn, readBuffer)}, nil
}

// appendCommand appends a command as an array of strings.
func appendCommand(dst []byte, args ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(args))
	for _, a := range args {
		dst = fmt.Appendf(dst, "$%d\r\n%s\r\n", len(a), a)
	}
	return dst
}

// call makes one command and reads the first line of its answer.
func (c *redisConn) call(args ...string) error {
	_ = c.conn.SetDeadline(time.Now().Add(publishTimeout))
	if _, err := c.conn.Write(appendCommand(nil, args...)); err != nil {
		return fmt.Errorf("bench: Redis: %w", err)
	}
	_, err := c.line()
	return err
}

// line reads one line; an error of Redis's is one.
func (c *redisConn) line() (string, error) {
	text, err := c.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("bench: Redis: %w", err)
	}
	if text[0] == '-' {
		return "", fmt.Errorf("bench: Redis: %.200s", text[1:len(text)-2])
	}
	return text[:len(text)-2], nil
}

func (c *redisConn) subscribe(channel string) error {
	if err := c.call("SUBSCRIBE", channel); err != nil {
		return err
	}
	// The rest of ["subscribe", channel, 1].
	for range 5 {
		if _, err := c.line(); err != nil {
			return err
		}
	}
	return nil
}

// publish keeps commands under way until a time, and returns how many it made.
func (c *redisConn) publish(ctx context.Context, channel string, message []byte, until time.Time) (sent uint64, err error) {
	const half = publishPipeline / 2
	batch := bytes.Repeat(appendCommand(nil, "PUBLISH", channel, string(message)), half)
	under := 0
	for time.Now().Before(until) || under > 0 {
		if err := ctx.Err(); err != nil {
			return sent, err
		}
		_ = c.conn.SetDeadline(time.Now().Add(publishTimeout))
		for under <= half && time.Now().Before(until) {
			if _, err := c.conn.Write(batch); err != nil {
				return sent, fmt.Errorf("bench: Redis: %w", err)
			}
			under += half
			sent += half
		}
		for range half {
			n, err := c.line()
			if err != nil {
				return sent, err
			}
			if n != ":1" {
				return sent, errors.New("bench: Redis has not one subscriber, but " + n)
			}
		}
		under -= half
	}
	return sent, nil
}

// receive counts messages until one of another size comes.
func (c *redisConn) receive(channel string, message []byte) (r receipt) {
	var frame []byte
	frame = append(appendCommand(frame, "message", channel), "$"+strconv.Itoa(len(message))+"\r\n"...)
	frame[1] = '3'
	frame = append(append(frame, message...), "\r\n"...)
	buf := make([]byte, len(frame))
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(publishTimeout))
		// What ends the stream is shorter than a message.
		head, err := c.in.Peek(len(frame) - len(message))
		if err != nil {
			r.err = fmt.Errorf("bench: Redis: %w", err)
			return r
		}
		if !bytes.HasPrefix(frame, head[:len(frame)-len(message)-2]) {
			return r
		}
		if _, err := io.ReadFull(c.in, buf); err != nil {
			r.err = fmt.Errorf("bench: Redis: %w", err)
			return r
		}
		r.n++
	}
}
