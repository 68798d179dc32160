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

// PublishResult is the throughput of a Redis without other load.
type PublishResult struct {
	Size int `json:"size"` // bytes of a message
	// PerSecond is the rate of fifty connections that each publish one message
	// at a time, as redis-benchmark does.
	PerSecond float64 `json:"per_s"`
	// Pipelined is the rate of one connection with 256 commands in flight,
	// which is close to the highest rate of a client with this Redis.
	Pipelined float64 `json:"pipelined_per_s"`
}

const (
	publishConns    = 50
	publishPipeline = 256
	publishTimeout  = 5 * time.Second // of a command
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

// publishRate publishes over conns connections with under messages in flight on
// each, and returns the messages/s that a subscriber received.
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
	// A message of another size marks the end for the receiver.
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

// receipt is the result of a subscriber.
type receipt struct {
	n   uint64
	err error
}

// redisConn is a connection to Redis with the part of RESP2 that is needed here.
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

// line reads one line; an error line of Redis becomes an error.
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

// publishAll keeps under commands in flight on each connection until a time, and
// returns how many commands it sent. Each answer is followed by the next command
// on the same connection, so that Redis never waits.
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

// answers reads the answers to n PUBLISH commands.
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

// receive counts messages until a message of another size arrives.
func (c *redisConn) receive(channel string, message []byte) (r receipt) {
	var frame []byte
	frame = append(appendCommand(frame, "message", channel), "$"+strconv.Itoa(len(message))+"\r\n"...)
	frame[1] = '3'
	frame = append(append(frame, message...), "\r\n"...)
	buf := make([]byte, len(frame))
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(publishTimeout))
		// The end marker is shorter than a message.
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
