//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/bench/internal/host"
)

// readBuffer is how much one read takes at most, as in the load generators.
const readBuffer = 256 << 10

// ReceiveReport is the result of a receiver, from the first byte to the last.
type ReceiveReport struct {
	Case     string  `json:"case"` // "receive"
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	CPUShare float64 `json:"cpu_share"` // of one core
}

// runReceive reads from many connections until all have ended, and counts.
func runReceive(ctx context.Context, args []string, out, log io.Writer) error {
	fs := flag.NewFlagSet("receive", flag.ContinueOnError)
	to := fs.String("connect", "", "loopback `address` of a limit stream --wait")
	connections := fs.Int("connections", 200, "connections to open")
	timeout := fs.Duration("timeout", maxDuration+time.Minute, "end of the run at the latest")
	asJSON := fs.Bool("json", false, "print the report as one line of JSON")
	if err := parse(fs, args, log); err != nil {
		return err
	}
	addr, err := loopback("connect", *to)
	if err != nil {
		return err
	}
	if err := within("connections", *connections, 1, maxReceivers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	socks, err := newSockets()
	if err != nil {
		return err
	}
	defer socks.close()
	if err := socks.connect(addr, *connections, unix.EPOLLIN); err != nil {
		return err
	}
	report, err := receive(ctx, socks)
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(out, report)
	}
	_, err = fmt.Fprintf(out, "%d bytes in %.2f s, %.0f %% of a core\n", report.Bytes, report.Seconds, report.CPUShare*100)
	return err
}

// receive reads until every connection has ended.
func receive(ctx context.Context, socks *sockets) (*ReceiveReport, error) {
	r := &ReceiveReport{Case: "receive"}
	buf := make([]byte, readBuffer)
	var begun time.Time
	var cpu float64
	for open := len(socks.fds); open > 0; {
		n, err := socks.wait(tick)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		for i := range n {
			index := int(socks.events[i].Fd)
			m, err := unix.Read(socks.fds[index], buf)
			switch {
			case err == unix.EAGAIN || err == unix.EINTR:
			case err != nil:
				return nil, os.NewSyscallError("read", err)
			case m == 0:
				if err := unix.EpollCtl(socks.epoll, unix.EPOLL_CTL_DEL, socks.fds[index], nil); err != nil {
					return nil, os.NewSyscallError("epoll_ctl", err)
				}
				open--
			default:
				if r.Bytes == 0 {
					begun, cpu = time.Now(), host.OwnCPUTime()
				}
				r.Bytes += int64(m)
			}
		}
	}
	if r.Bytes > 0 {
		r.Seconds = time.Since(begun).Seconds()
		r.CPUShare = (host.OwnCPUTime() - cpu) / r.Seconds
	}
	return r, nil
}
