package acceptance

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// ledger follows each stream as one front end sees it.
type ledger struct {
	t       *testing.T
	next    map[uint32]uint64 // the sample that must come next
	samples map[uint32]uint64
	lost    map[uint32]uint64
	gaps    int
	urgent  *protocol.Message
	// overtaken counts the samples that arrived after the urgent message.
	overtaken uint64
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, next: map[uint32]uint64{}, samples: map[uint32]uint64{}, lost: map[uint32]uint64{}}
}

func (l *ledger) take(m gatewaytest.Incoming) {
	if h := m.Telemetry; h != nil {
		if next, seen := l.next[h.Stream]; seen && next != h.Seq {
			l.gaps++
			l.t.Errorf("stream %d: sample %d came where %d was due, and nobody said so", h.Stream, h.Seq, next)
		}
		l.next[h.Stream] = h.End()
		l.samples[h.Stream] += uint64(h.Count)
		if l.urgent != nil {
			l.overtaken += uint64(h.Count)
		}
		return
	}
	switch m.Text.Type {
	case protocol.TypeLost:
		lost := gatewaytest.Decode[protocol.Lost](l.t, m.Text.Payload)
		if next, seen := l.next[lost.Stream]; seen && next != lost.From {
			l.t.Errorf("stream %d: told of a loss from %d where %d was due", lost.Stream, lost.From, next)
		}
		l.next[lost.Stream] = lost.To
		l.lost[lost.Stream] += lost.To - lost.From
	case "alarm.stop":
		l.urgent = &m.Text
	}
}

// drain reads until nothing arrives for the quiet time.
func (l *ledger) drain(p *gatewaytest.Peer, quiet time.Duration) {
	for {
		m, err := p.Next(quiet)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			l.t.Fatal(err)
		}
		l.take(m)
	}
}

// A front end that stops reading telemetry of four devices at 10 kHz does not
// disturb other sessions, costs bounded memory, and gets exact reports of its
// losses. An urgent message that was sent last overtakes all waiting
// telemetry.
func TestSlowFrontendLosesExactlyWhatItIsTold(t *testing.T) {
	t.Parallel()
	const devices = 4
	g := gatewaytest.StartGateway(t, "--telemetry-bytes", "2097152", "--inflight-bytes", "65536")
	fast := gatewaytest.Connect(t, g.Addr, "/ws/frontend/fast")
	slow := gatewaytest.Dialer{ReceiveBuffer: 16 << 10}.Connect(t, g.Addr, "/ws/frontend/slow")

	// The four devices run in this process, so that the test knows the sent
	// samples. Each frame has one sample.
	stop := make(chan struct{})
	sent := make(chan uint64, devices)
	var sources []*gatewaytest.Peer
	for i := range devices {
		p := gatewaytest.Connect(t, g.Addr, "/ws/device/slow-test-"+string(rune('a'+i)))
		sources = append(sources, p)
		go func() { sent <- streamSamples(p, 10_000, stop) }()
	}

	fastBook := newLedger(t)
	before := g.ResidentKiB()
	most := before
	for begin := time.Now(); time.Since(begin) < 8*time.Second; {
		m, err := fast.Next(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fastBook.take(m)
		if len(fastBook.samples) > 0 && fastBook.samples[1]%20_000 == 0 {
			most = max(most, g.ResidentKiB())
		}
	}
	close(stop)
	total := uint64(0)
	for range devices {
		total += <-sent
	}
	fastBook.drain(fast, time.Second)
	sources[0].Text(`{"type":"alarm.stop","urgent":true,"payload":"halt"}`)
	fastBook.drain(fast, time.Second)

	var got, lost uint64
	for stream, n := range fastBook.samples {
		got += n
		lost += fastBook.lost[stream]
	}
	if got != total || lost != 0 || fastBook.gaps != 0 {
		t.Errorf("the fast front end got %d of %d samples, %d lost, %d gaps", got, total, lost, fastBook.gaps)
	}
	if grown := most - before; grown > 64<<10 {
		t.Errorf("the gateway grew by %d KiB for one front end that does not read", grown)
	}
	t.Logf("resident memory %d KiB before, %d KiB at most", before, most)

	slowBook := newLedger(t)
	slowBook.drain(slow, time.Second)
	var slowGot, slowLost uint64
	for stream, n := range slowBook.samples {
		slowGot += n
		slowLost += slowBook.lost[stream]
	}
	if slowGot+slowLost != total {
		t.Errorf("the slow front end got %d and was told of %d lost: %d of %d", slowGot, slowLost, slowGot+slowLost, total)
	}
	if slowLost == 0 {
		t.Error("nothing was lost: the test did not fill the queue")
	}
	if slowBook.urgent == nil {
		t.Fatal("the urgent message did not come")
	}
	if slowBook.overtaken < 2000 {
		t.Errorf("the urgent message overtook %d samples only", slowBook.overtaken)
	}
	t.Logf("slow: %d received + %d lost = %d sent; the urgent message overtook %d samples", slowGot, slowLost, total, slowBook.overtaken)
}

// streamSamples sends one sample a frame until stop and returns how many.
func streamSamples(p *gatewaytest.Peer, rate int, stop <-chan struct{}) uint64 {
	begin, seq := time.Now(), uint64(0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return seq
		case <-tick.C:
		}
		for due := uint64(time.Since(begin).Seconds() * float64(rate)); seq < due; seq++ {
			p.SendSamples(seq, 1)
		}
	}
}

// An urgent command overtakes the messages that wait for its device.
func TestUrgentCommandOvertakesBacklog(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--inflight-bytes", "65536", "--control-bytes", "4194304", "--max-message-rate", "0")
	device := gatewaytest.Dialer{ReceiveBuffer: 16 << 10}.Connect(t, g.Addr, "/ws/device/busy-1")
	operator := gatewaytest.Connect(t, g.Addr, "/ws/frontend/op")
	operator.Await(protocol.TypeWelcome)

	// The device also streams, so that the way back is full as well.
	stop, sent := make(chan struct{}), make(chan uint64, 1)
	go func() { sent <- streamSamples(device, 10_000, stop) }()

	filler := make([]byte, 8<<10)
	for i := range filler {
		filler[i] = 'x'
	}
	const backlog = 300
	for i := range backlog {
		operator.Text(`{"type":"log.note","dst":"busy-1","payload":{"n":%d,"text":"%s"}}`, i, filler)
	}
	operator.Text(`{"type":"test.stop","id":"halt","dst":"busy-1","urgent":true}`)
	gatewaytest.Eventually(t, "the gateway has read all", func() bool {
		return g.Metric("labgate_commands_total") >= backlog+1
	})

	notes := 0
	for {
		m, err := device.Next(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if m.Text.Type == "log.note" {
			notes++
		}
		if m.Text.Type == "test.stop" {
			break
		}
	}
	if notes >= backlog/2 {
		t.Errorf("test.stop came after %d of %d notes", notes, backlog)
	}
	device.Text(`{"type":"test.stopped","re":"halt","urgent":true}`)
	answer := operator.Await("test.stopped")
	if answer.Re != "halt" || answer.Src != "busy-1" {
		t.Errorf("answer %+v", answer)
	}
	close(stop)
	<-sent
	t.Logf("test.stop overtook %d of %d notes", backlog-notes, backlog)
}
