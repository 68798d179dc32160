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
	Size int `json:"size"` // bytes of a message
	// PerSecond is with fifty connections that publish one message at a time
	// each, as redis-benchmark does.
	PerSecond float64 `json:"per_s"`
	// Pipelined is with one connection that has 256 under way, the most that a
	// client can get out of this Redis, or nearly so.
	Pipelined float64 `json:"pipelined_per_s"`
}

const (
	publishConns    = 50
	publishPipeline = 256
	publishTimeout  = 5 * time.Second // of anything that Redis is asked
)

// measurePublish publishes in two ways, each for Options.StepDuration, and
// receives over another connection.
func measurePublish(ctx context.Context, o *Options) (*PublishResult, error) {
	if _, err := parseTarget(ctx, "redis-addr", o.Redis, o.AllowRemote); err != nil {
		return nil, err
	}
	res := &PublishResult{Size: o.textSize()}
	var err error
	if res.PerSecond, err = publishRate(ctx, o, publishConns, 1); err != nil {
		return nil, err
	}
	res.Pipelined, err = publishRate(ctx, o, 1, publishPipeline)
	return res, err
}

// publishRate publishes over some connections, with so many messages under way
// on each, and returns how many messages a second a subscriber received.
func publishRate(ctx context.Context, o *Options, conns, under int) (float64, error) {
	channel := o.Prefix + "-publish"
	sub, err := dialRedis(ctx, o.Redis)
	if err != nil {
		return 0, err
	}
	defer sub.conn.Close()
	pubs := make([]*redisConn, conns)
	for i := range pubs {
		if pubs[i], err = dialRedis(ctx, o.Redis); err != nil {
			return 0, err
		}
		defer pubs[i].conn.Close()
	}
	if err := sub.subscribe(channel); err != nil {
		return 0, err
	}
	message := bytes.Repeat([]byte("x"), o.textSize())
	received := make(chan receipt, 1)
	go func() { received <- sub.receive(channel, message) }()
	begun := time.Now()
	sent, err := publishAll(ctx, pubs, under, channel, message, begun.Add(o.StepDuration))
	if err != nil {
		return 0, err
	}
	// One of another size tells the receiver that this was all.
	if err := pubs[0].call("PUBLISH", channel, "end"); err != nil {
		return 0, err
	}
	got := <-received
	seconds := time.Since(begun).Seconds()
	if got.err != nil {
		return 0, got.err
	}
	if got.n != sent {
		return 0, fmt.Errorf("bench: Redis passed on %d of %d messages", got.n, sent)
	}
	return float64(got.n) / seconds, nil
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

// publishAll keeps commands under way on each connection until a time, and
// returns how many it made. What came back on a connection is followed by as
// many, so that Redis does not wait for the others.
func publishAll(ctx context.Context, conns []*redisConn, under int, channel string, message []byte, until time.Time) (sent uint64, err error) {
	half := max(under/2, 1)
	batch := bytes.Repeat(appendCommand(nil, "PUBLISH", channel, string(message)), half)
	write := func(c *redisConn) error {
		_ = c.conn.SetDeadline(time.Now().Add(publishTimeout))
		if _, err := c.conn.Write(batch); err != nil {
			return fmt.Errorf("bench: Redis: %w", err)
		}
		sent += uint64(half)
		return nil
	}
	for range under / half {
		for _, c := range conns {
			if err := write(c); err != nil {
				return sent, err
			}
		}
	}
	left := len(conns) * (under / half)
	for more := true; left > 0; {
		more = more && time.Now().Before(until)
		if err := ctx.Err(); err != nil {
			return sent, err
		}
		for _, c := range conns {
			if left == 0 {
				break
			}
			if err := c.answers(half); err != nil {
				return sent, err
			}
			if left--; more {
				left++
				if err := write(c); err != nil {
					return sent, err
				}
			}
		}
	}
	return sent, nil
}

// answers reads what n PUBLISH commands are answered with.
func (c *redisConn) answers(n int) error {
	for range n {
		receivers, err := c.line()
		if err != nil {
			return err
		}
		if receivers != ":1" {
			return errors.New("bench: Redis has not one subscriber, but " + receivers)
		}
	}
	return nil
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
