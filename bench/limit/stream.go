//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/bench/internal/host"
	"github.com/labgate/labgate/internal/wsframe"
)

const (
	maxReceivers  = 10000
	maxPayload    = 1 << 20
	maxDuration   = 10 * time.Minute
	connectWithin = 10 * time.Second // for the receiver to connect
	finishWithin  = 10 * time.Second // for the receiver to read the bytes in flight
)

// StreamReport is the result of stream. Times and CPU are those of the
// measured part; the totals that Verified compares are those of the whole run.
type StreamReport struct {
	Case          string  `json:"case"` // "stream"
	Receivers     int     `json:"receivers"`
	PayloadBytes  int     `json:"payload_bytes"`
	FrameBytes    int     `json:"frame_bytes"` // payload and header
	WriteBytes    int     `json:"write_bytes"` // of a full write
	Seconds       float64 `json:"seconds"`
	Deliveries    int64   `json:"deliveries"`
	PerSecond     float64 `json:"deliveries_per_s"`
	CPUPerDeliver float64 `json:"cpu_us_per_delivery"` // of this process
	CPUShare      float64 `json:"cpu_share"`           // of one core, this process
	// Receiver is the other process; nil when this program did not start it.
	Receiver *ReceiveReport `json:"receiver,omitempty"`
	Verified bool           `json:"verified"` // the receiver got every byte that was sent
	Host     Host           `json:"host"`
}

// stream is one run of the sender.
type stream struct {
	socks  *sockets
	block  []byte // complete frames, as many as fit into one write
	frame  int    // bytes of one
	offset []int  // of each socket in block
	sent   int64  // bytes
}

func runStream(ctx context.Context, args []string, out, log io.Writer) error {
	fs := flag.NewFlagSet("stream", flag.ContinueOnError)
	listenAt := fs.String("listen", "127.0.0.1:0", "loopback `address` that receivers connect to")
	receivers := fs.Int("receivers", 200, "sockets to send to")
	payload := fs.Int("payload", 128, "payload of a frame, in bytes")
	write := fs.Int("write", 64<<10, "largest write, in bytes; it is filled with complete frames")
	duration := fs.Duration("duration", 5*time.Second, "measured time")
	warmup := fs.Duration("warmup", 500*time.Millisecond, "time before it")
	cpu := fs.Int("receiver-cpu", -1, "processor of the receiver that is started (by taskset); -1: any")
	wait := fs.Bool("wait", false, "start no receiver: wait for a separate `limit receive`")
	asJSON := fs.Bool("json", false, "print the report as one line of JSON")
	if err := parse(fs, args, log); err != nil {
		return err
	}
	at, err := loopback("listen", *listenAt)
	if err = errors.Join(err, within("receivers", *receivers, 1, maxReceivers), within("payload", *payload, 1, maxPayload),
		within("write", *write, *payload+wsframe.HeaderSize(*payload), 64<<20)); err != nil {
		return err
	}
	if *duration <= 0 || *warmup < 0 || *duration+*warmup > maxDuration {
		return fmt.Errorf("--duration %v and --warmup %v are out of range; use up to %v in all", *duration, *warmup, maxDuration)
	}
	ctx, cancel := context.WithTimeout(ctx, *duration+*warmup+connectWithin+finishWithin)
	defer cancel()

	listener, addr, err := listen(at)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(listener) }()
	var other *receiver
	if *wait {
		_, _ = fmt.Fprintf(log, "waiting for: limit receive --connect %s --connections %d\n", addr, *receivers)
	} else if other, err = startReceiver(ctx, addr.String(), *receivers, *cpu, log); err != nil {
		return err
	}
	s, err := newStream(*payload, *write, *receivers)
	if err != nil {
		return err
	}
	defer s.socks.close()
	if err := s.socks.accept(ctx, listener, *receivers, connectWithin, unix.EPOLLOUT); err != nil {
		return err
	}
	report, err := s.measure(ctx, *warmup, *duration)
	if err != nil {
		return err
	}
	s.socks.close()
	report.Case, report.Receivers, report.PayloadBytes, report.Host = "stream", *receivers, *payload, hostInfo()
	if other != nil {
		if report.Receiver, err = other.report(); err != nil {
			return err
		}
		if report.Receiver.Bytes != s.sent {
			return fmt.Errorf("%d bytes were sent and %d arrived", s.sent, report.Receiver.Bytes)
		}
		report.Verified = true
	}
	if *asJSON {
		return writeJSON(out, report)
	}
	_, err = fmt.Fprintf(out, "%d sockets, %d-byte frames, %d-byte writes: %.2f million deliveries/s, %.4f µs of CPU each (%.0f %% of a core)\n",
		report.Receivers, report.FrameBytes, report.WriteBytes, report.PerSecond/1e6, report.CPUPerDeliver, report.CPUShare*100)
	return err
}

// newStream prepares the bytes that every socket gets repeatedly.
func newStream(payload, write, receivers int) (*stream, error) {
	socks, err := newSockets()
	if err != nil {
		return nil, err
	}
	frame := wsframe.AppendFrame(nil, wsframe.OpBinary, bytes.Repeat([]byte{0x5a}, payload))
	return &stream{socks: socks, block: bytes.Repeat(frame, write/len(frame)), frame: len(frame), offset: make([]int, receivers)}, nil
}

// measure streams through the warm-up and the measured time, and completes
// every frame that is under way at the end.
func (s *stream) measure(ctx context.Context, warmup, duration time.Duration) (*StreamReport, error) {
	if err := s.until(ctx, time.Now().Add(warmup)); err != nil {
		return nil, err
	}
	begun, cpu, sent := time.Now(), host.OwnCPUTime(), s.sent
	if err := s.until(ctx, begun.Add(duration)); err != nil {
		return nil, err
	}
	seconds, cpu, sent := time.Since(begun).Seconds(), host.OwnCPUTime()-cpu, s.sent-sent
	if err := s.complete(ctx); err != nil {
		return nil, err
	}
	r := &StreamReport{FrameBytes: s.frame, WriteBytes: len(s.block), Seconds: seconds, Deliveries: sent / int64(s.frame)}
	r.PerSecond, r.CPUShare = float64(r.Deliveries)/seconds, cpu/seconds
	if r.Deliveries > 0 {
		r.CPUPerDeliver = cpu * 1e6 / float64(r.Deliveries)
	}
	return r, nil
}

// until makes one write to each writable socket in turn.
func (s *stream) until(ctx context.Context, end time.Time) error {
	for time.Now().Before(end) {
		n, err := s.socks.wait(tick)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		for i := range n {
			if err := s.write(int(s.socks.events[i].Fd), len(s.block)); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete sends the rest of frames that were cut off.
func (s *stream) complete(ctx context.Context) error {
	for i := range s.offset {
		for s.offset[i]%s.frame != 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("the receiver does not read the bytes in flight: %w", err)
			}
			if err := s.write(i, s.offset[i]+s.frame-s.offset[i]%s.frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// write sends block from the position of socket i up to end.
func (s *stream) write(i, end int) error {
	n, err := unix.Write(s.socks.fds[i], s.block[s.offset[i]:end])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("receiver %d: %w", i, os.NewSyscallError("write", err))
	}
	s.sent += int64(n)
	if s.offset[i] += n; s.offset[i] == len(s.block) {
		s.offset[i] = 0
	}
	return nil
}

// receiver is the process at the other end.
type receiver struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

// startReceiver runs this program as a receiver, pinned to a processor if cpu
// is given. The process ends with ctx at the latest.
func startReceiver(ctx context.Context, addr string, connections, cpu int, log io.Writer) (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "receive", "--connect", addr, "--connections", strconv.Itoa(connections), "--json"}
	if cpu >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(cpu)}, args...)
	}
	r := &receiver{cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, log
	return r, r.cmd.Start()
}

// report waits for the end of the receiver, which follows that of the sockets.
func (r *receiver) report() (*ReceiveReport, error) {
	if err := r.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	var rep ReceiveReport
	if err := json.Unmarshal(r.out.Bytes(), &rep); err != nil {
		return nil, fmt.Errorf("report of the receiver: %w", err)
	}
	return &rep, nil
}
