package cluster

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// counter is a member that counts.
type counter struct {
	idle
	joined, wanted   atomic.Int64
	messages, frames atomic.Int64
	perFrame         int
	tokens           chan struct{} // how many messages may be on their way
	answers          *Bus
	answered         chan struct{}
}

func (c *counter) NodeJoined(federation.NodeID, string)             { c.joined.Add(1) }
func (c *counter) NodeLeft(federation.NodeID, federation.Departure) {}
func (c *counter) InterestChanged(federation.NodeID, string, bool)  { c.wanted.Add(1) }
func (c *counter) BusChanged(bool)                                  {}
func (c *counter) Receive(from federation.NodeID, m *federation.Message) {
	c.messages.Add(1)
	switch {
	case c.tokens != nil:
		<-c.tokens
	case c.answers != nil:
		_ = c.answers.Send(from, m)
	case c.answered != nil:
		c.answered <- struct{}{}
	}
}
func (c *counter) ReceiveTelemetry(_ federation.NodeID, b *federation.Batch) {
	c.frames.Add(int64(len(b.Wire) / c.perFrame))
}

// two returns buses on one Redis that know each other.
func two(b *testing.B, redis *redistest.Server) (buses [2]*Bus, members [2]*counter) {
	for i := range buses {
		var err error
		if buses[i], err = New(Options{URL: redis.URL(), Name: fmt.Sprint("node-", i)}); err != nil {
			b.Fatal(err)
		}
		members[i] = &counter{perFrame: 1}
		if err := buses[i].Join(members[i]); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(buses[i].Leave)
	}
	await(b, "they know each other", func() bool { return members[0].joined.Load() == 1 && members[1].joined.Load() == 1 })
	return buses, members
}

// published returns how many messages of a size redis-benchmark publishes in a
// second to a channel that one client listens to.
func published(b *testing.B, redis *redistest.Server, size int) float64 {
	b.Helper()
	listener := exec.Command("redis-cli", "-p", fmt.Sprint(redis.Port()), "subscribe", "bench")
	if err := listener.Start(); err != nil {
		b.Fatal(err, ": run scripts/setup, which installs Redis")
	}
	defer func() { _ = listener.Process.Kill(); _ = listener.Wait() }()
	out, err := exec.Command("redis-benchmark", "-p", fmt.Sprint(redis.Port()), "-n", "100000", "-q",
		"publish", "bench", strings.Repeat("x", size)).Output()
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`([0-9.]+) requests per second`).FindAllSubmatch(out, -1)
	if m == nil {
		b.Fatalf("redis-benchmark: %q", out)
	}
	n, err := strconv.ParseFloat(string(m[len(m)-1][1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkMessages sends from one node to another, with so many on their way at
// most, and compares with redis-benchmark: 50 connections that wait for each
// answer.
func BenchmarkMessages(b *testing.B) {
	for _, c := range []struct{ size, window int }{{100, 50}, {1000, 50}, {100, 20_000}, {1000, 20_000}} {
		size, window := c.size, c.window
		b.Run(fmt.Sprintf("%d bytes, %d on their way", size, window), func(b *testing.B) {
			redis := redistest.Start(b)
			reference := published(b, redis, size)
			buses, members := two(b, redis)
			members[1].tokens = make(chan struct{}, window)
			m := message(1, strings.Repeat("x", size))
			to := buses[1].Self()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				members[1].tokens <- struct{}{}
				for errors.Is(buses[0].Send(to, m), federation.ErrFull) {
					time.Sleep(100 * time.Microsecond)
				}
			}
			await(b, "all have come", func() bool { return members[1].messages.Load() == int64(b.N) })
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "messages/s")
			b.ReportMetric(reference, "PUBLISH/s")
			b.ReportMetric(rate/reference, "ratio")
			b.ReportMetric(float64(b.N)/float64(buses[0].Stats().Publishes), "messages/packet")
		})
	}
}

// BenchmarkTelemetry sends batches of 40 frames of 100 bytes, what a device at
// 10 kHz sends in 4 ms, and counts frames.
func BenchmarkTelemetry(b *testing.B) {
	const frame, frames = 100, 40
	redis := redistest.Start(b)
	reference := published(b, redis, frame)
	buses, members := two(b, redis)
	members[1].perFrame = frame
	buses[1].UpdateInterest("press-1", true)
	await(b, "it is wanted", func() bool { return members[0].wanted.Load() == 1 })
	t := &federation.Batch{Device: "press-1", Wire: make([]byte, frame*frames)}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for i*frames-int(members[1].frames.Load()) > 20_000 {
			time.Sleep(100 * time.Microsecond)
		}
		buses[0].SendTelemetry(t)
	}
	await(b, "all have come", func() bool { return members[1].frames.Load() == int64(b.N*frames) })
	rate := float64(b.N*frames) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "frames/s")
	b.ReportMetric(reference, "PUBLISH/s")
	b.ReportMetric(rate/reference, "ratio")
}

// BenchmarkThereAndBack sends one message at a time to another node, which
// answers: what crossing nodes adds to a command.
func BenchmarkThereAndBack(b *testing.B) {
	buses, members := two(b, redistest.Start(b))
	members[1].answers = buses[1]
	members[0].answered = make(chan struct{}, 1)
	m := message(1, strings.Repeat("x", 200))
	b.ReportAllocs()
	for b.Loop() {
		if err := buses[0].Send(buses[1].Self(), m); err != nil {
			b.Fatal(err)
		}
		<-members[0].answered
	}
}
