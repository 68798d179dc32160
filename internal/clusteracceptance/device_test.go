package clusteracceptance

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// device is a machine under test, which answers commands and sends telemetry
// over one connection after another. It remembers every command.
type device struct {
	t  *testing.T
	id string

	// mu guards the rest.
	mu   sync.Mutex
	seen map[string]int // commands carried out, by their payload's "key"
	seq  uint64         // samples sent
	mute bool           // leaves commands unanswered
	// begins are the first samples of its connections.
	begins map[uint64]bool
}

func newDevice(t *testing.T, id string) *device {
	return &device{t: t, id: id, seen: map[string]int{}, begins: map[uint64]bool{}}
}

// connect connects the device to a node until the test ends.
func (d *device) connect(n *node) *peer {
	d.t.Helper()
	p, err := d.tryConnect(n)
	if err != nil {
		d.t.Fatalf("device %s to node %s: %v", d.id, n.name, err)
	}
	d.t.Cleanup(p.reset)
	return p
}

func (d *device) tryConnect(n *node) (*peer, error) {
	return tryConnect(d.t, n.Addr, "/ws/device/"+d.id+"?type=test", d.text)
}

// text answers a command with the command's payload.
func (d *device) text(p *peer, m protocol.Message) {
	if m.Type != "do.it" {
		return
	}
	var command struct{ Key string }
	if err := json.Unmarshal(m.Payload, &command); err != nil {
		d.t.Errorf("%s: a command with the payload %s", d.id, m.Payload)
	}
	d.mu.Lock()
	d.seen[command.Key]++
	mute := d.mute
	d.mu.Unlock()
	if m.ID != "" && !mute {
		p.Text(`{"type":"it.is_done","re":%q,"payload":%s}`, m.ID, m.Payload)
	}
}

// carriedOut returns how often the device has received a command.
func (d *device) carriedOut(key string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[key]
}

// sent returns how many samples the device has sent.
func (d *device) sent() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seq
}

// stream sends telemetry over a connection until stop is closed or the
// connection has ended. At an interval it sends the samples that are due at
// the given rate.
func (d *device) stream(p *peer, rate time.Duration, every time.Duration, stop <-chan struct{}) {
	d.mu.Lock()
	d.begins[d.seq] = true
	d.mu.Unlock()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-stop:
			return
		case <-p.done:
			return
		case now := <-tick.C:
			n := min(int(now.Sub(last)*rate/time.Second), 2000)
			if n <= 0 { // the first tick may be from before
				continue
			}
			last = now
			d.mu.Lock()
			seq := d.seq
			// The samples are counted before they are sent, so that no
			// receiver has more samples than the count.
			d.seq += uint64(n)
			d.mu.Unlock()
			p.SendSamples(seq, n)
		}
	}
}

// streaming sends 10,000 samples a second in the background, until the
// returned function is called.
func (d *device) streaming(p *peer) (stop func()) {
	quit := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() { d.stream(p, 10_000, 2*time.Millisecond, quit) })
	var once sync.Once
	stop = func() {
		once.Do(func() { close(quit) })
		working.Wait()
	}
	d.t.Cleanup(stop)
	return stop
}

// command sends a command to a device. The command's id is its key, too.
func (p *peer) command(id, device string) {
	p.Text(`{"type":"do.it","id":%q,"dst":%q,"payload":{"key":%q}}`, id, device, id)
}

// mustAnswer sends a command of a front end, which must be answered.
func (p *peer) mustAnswer(id, device string) {
	p.t.Helper()
	p.command(id, device)
	if m := p.awaitRe(id); m.Type != "it.is_done" || m.Src != device {
		p.t.Errorf("command %s: %s of %q: %s", id, m.Type, m.Src, m.Payload)
	}
}

// mustFail sends a command of a front end, which must fail with one of these
// codes within a limit.
func (p *peer) mustFail(limit time.Duration, id, device string, codes ...protocol.ErrorCode) {
	p.t.Helper()
	began := time.Now()
	p.command(id, device)
	got := protocol.ErrorCode(p.awaitError(id))
	took := time.Since(began)
	for _, code := range codes {
		if code == got {
			if took > limit {
				p.t.Errorf("command %s failed with %s after %v, want %v at most", id, got, took, limit)
			}
			return
		}
	}
	p.t.Errorf("command %s failed with %s, want %v", id, got, codes)
}
