package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/wsframe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errFake = errors.New("fake: connection reset")

// fake is a programmable Transport that keeps what was written.
type fake struct {
	s        atomic.Pointer[Session]
	buffered atomic.Int64
	peak     atomic.Int64
	// discard keeps only the count of writes and bytes.
	discard bool
	// answer makes the peer answer pings and close frames, rtt after they came.
	answer bool
	rtt    time.Duration
	// locked makes Close and a failing Write call TransportClosed with the
	// transport's own lock held, as an event loop may.
	locked bool
	// onLook runs between what Buffered reads and its return.
	onLook func()
	// dropped is what was buffered when Close came.
	dropped atomic.Int64
	// mute keeps Close from leading to TransportClosed.
	mute bool

	// reading serialises the peer's answers: a connection has one reader.
	reading sync.Mutex

	ended chan struct{}

	// mu guards the rest.
	mu      sync.Mutex
	wire    []byte
	parsed  int
	writes  int
	total   int
	stalled bool
	fail    error
	gate    chan struct{} // Write blocks until it is closed
	closes  int
	late    int // writes after Close
	onWrite func(b []byte)
}

func (f *fake) Write(b []byte) (int, error) {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-f.ended:
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closes > 0 {
		f.late++
		return 0, io.ErrClosedPipe
	}
	if f.fail != nil {
		if f.locked {
			f.s.Load().TransportClosed(f.fail)
		}
		return 0, f.fail
	}
	f.writes++
	f.total += len(b)
	if f.stalled {
		n := f.buffered.Add(int64(len(b)))
		f.peak.Store(max(f.peak.Load(), n))
	}
	if f.onWrite != nil {
		f.onWrite(b)
	}
	if f.discard {
		return len(b), nil
	}
	f.wire = append(f.wire, b...)
	if f.answer {
		for _, w := range parseWire(f.wire[f.parsed:]) {
			f.respond(w)
		}
		f.parsed = len(f.wire)
	}
	if f.locked {
		// A part of it went straight to the kernel.
		f.s.Load().Writable()
	}
	return len(b), nil
}

func (f *fake) respond(w wireFrame) {
	op := w.op
	switch op {
	case wsframe.OpPing:
		op = wsframe.OpPong
	case wsframe.OpClose:
	default:
		return
	}
	go func() {
		if f.rtt > 0 {
			select {
			case <-time.After(f.rtt):
			case <-f.ended:
				return
			}
		}
		f.read(func(s *Session) { _ = s.HandleControl(op, w.payload) })
	}()
}

// read is one read event of the peer's connection.
func (f *fake) read(handle func(s *Session)) {
	f.reading.Lock()
	defer f.reading.Unlock()
	s := f.s.Load()
	s.Heard()
	handle(s)
	s.EndRead()
}

func (f *fake) attach(s *Session) { f.s.Store(s) }

func (f *fake) Buffered() int {
	n := f.buffered.Load()
	if f.onLook != nil {
		f.onLook()
	}
	return int(n)
}

func (f *fake) Close() error {
	f.mu.Lock()
	first := f.closes == 0
	f.closes++
	if first {
		f.dropped.Store(f.buffered.Swap(0))
		close(f.ended)
		if f.locked && !f.mute {
			f.s.Load().TransportClosed(nil)
		}
	}
	f.mu.Unlock()
	if first && !f.locked && !f.mute {
		f.s.Load().TransportClosed(nil)
	}
	return nil
}

// stall makes the kernel take nothing; with false it takes everything.
func (f *fake) stall(on bool) {
	f.mu.Lock()
	f.stalled = on
	f.mu.Unlock()
	if !on {
		f.progress(1 << 40)
	}
}

// progress lets the kernel take n bytes.
func (f *fake) progress(n int64) {
	for {
		old := f.buffered.Load()
		if f.buffered.CompareAndSwap(old, max(old-n, 0)) {
			break
		}
	}
	if f.locked {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	f.s.Load().Writable()
}

func (f *fake) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *fake) block() (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
	return func() {
		f.mu.Lock()
		f.gate = nil
		f.mu.Unlock()
		close(gate)
	}
}

func (f *fake) counts() (writes, closes, late int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes, f.closes, f.late
}

func (f *fake) closed() bool {
	_, closes, _ := f.counts()
	return closes > 0
}

// sent returns everything written, one readable entry for each frame.
func (f *fake) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, w := range parseWire(f.wire) {
		out = append(out, w.String())
	}
	return out
}

func (f *fake) sentText() string { return strings.Join(f.sent(), " ") }

// testOptions are the options that the tests start from; there is no heartbeat
// within the time of any test.
func testOptions() Options {
	return Options{
		LivenessOptions: LivenessOptions{HeartbeatInterval: 10_000 * time.Hour, HeartbeatTimeout: 20_000 * time.Hour},
		QueueOptions:    QueueOptions{FlushInterval: time.Millisecond},
		Callbacks:       new(hooks),
	}
}

// hooks are Callbacks of which a test sets those that it looks at.
type hooks struct {
	prepare    func(*Session) any
	connect    func(*Session)
	message    func(*Session, wsframe.Opcode, []byte) error
	endRead    func(*Session)
	disconnect func(*Session, Cause)
}

// on returns the hooks of options made by testOptions.
func on(opts *Options) *hooks { return opts.Callbacks.(*hooks) }

func (h *hooks) Prepare(s *Session) any {
	if h.prepare == nil {
		return nil
	}
	return h.prepare(s)
}

func (h *hooks) OnConnect(s *Session) {
	if h.connect != nil {
		h.connect(s)
	}
}

func (h *hooks) OnMessage(s *Session, op wsframe.Opcode, payload []byte) error {
	if h.message == nil {
		return nil
	}
	return h.message(s, op, payload)
}

func (h *hooks) OnEndRead(s *Session) {
	if h.endRead != nil {
		h.endRead(s)
	}
}

func (h *hooks) OnDisconnect(s *Session, cause Cause) {
	if h.disconnect != nil {
		h.disconnect(s, cause)
	}
}

// attaching gives a fake transport its session.
type attaching struct{ Callbacks }

func (a attaching) Prepare(s *Session) any {
	s.t.(interface{ attach(*Session) }).attach(s)
	return a.Callbacks.Prepare(s)
}

// newTestManager starts a Manager that is stopped at the test's end.
func newTestManager(t testing.TB, opts Options) *Manager {
	t.Helper()
	opts.Callbacks = attaching{opts.Callbacks}
	m, err := NewManager(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Stop(ctx)
	})
	return m
}

// connect adds a peer on a new fake transport; prepare may set its fields.
func connect(t testing.TB, m *Manager, info Info, prepare ...func(*fake)) (*Session, *fake) {
	t.Helper()
	s, f, err := tryConnect(m, info, prepare...)
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

func tryConnect(m *Manager, info Info, prepare ...func(*fake)) (*Session, *fake, error) {
	f := &fake{ended: make(chan struct{})}
	for _, p := range prepare {
		p(f)
	}
	s, err := m.Add(info, f)
	return s, f, err
}

func device(name string) Info { return Info{Role: RoleDevice, Name: name} }

var frontend = Info{Role: RoleFrontend, Telemetry: "all"}

func answering(f *fake) { f.answer = true }

// sendText queues a text message.
func sendText(s *Session, text string, urgent bool) error {
	f := NewTextFrame([]byte(text))
	defer f.Release()
	return s.Send(f, urgent)
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	g, w := fmt.Sprint(got), fmt.Sprint(want)
	if g == w {
		return
	}
	if len(g)+len(w) > 2000 {
		at := 0
		for at < min(len(g), len(w)) && g[at] == w[at] {
			at++
		}
		at = max(at-100, 0)
		g, w = fmt.Sprintf("%d bytes, ..%.300s", len(g), g[min(at, len(g)):]), fmt.Sprintf("%d bytes, ..%.300s", len(w), w[min(at, len(w)):])
	}
	t.Errorf("%s:\n got %s\nwant %s", what, g, w)
}

// cancelled returns a context that has ended.
func cancelled() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}
