package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// device is a well-behaved device: it answers commands and sends telemetry.
type device struct {
	*peer
	id   string
	sent atomic.Uint64 // samples
	done chan struct{}
}

func newDevice(addr, id, token string) (*device, error) {
	p, err := dial(addr, "/ws/device/"+id, token, 0)
	if err != nil {
		return nil, err
	}
	d := &device{peer: p, id: id, done: make(chan struct{})}
	p.onText = func(m protocol.Message) {
		if m.ID != "" {
			p.Text(`{"type":"it.is_done","re":%q}`, m.ID)
		}
	}
	go func() {
		defer close(d.done)
		p.run()
	}()
	return d, nil
}

// stream sends telemetry until stop, in frames of all sizes.
func (d *device) stream(stop <-chan struct{}) {
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-stop:
			tick.Stop()
			return
		case <-d.done:
			tick.Stop()
			return
		case <-tick.C:
			n := 1 + rand.IntN(100)
			seq := d.sent.Load()
			// The samples are counted before they are sent, so that no
			// receiver has more samples than the count.
			d.sent.Add(uint64(n))
			d.SendSamples(seq, n)
		}
	}
}

// watcher is a front end that accounts for the steady devices' samples and for
// its own commands.
type watcher struct {
	*peer
	name string
	done chan struct{}

	// mu guards the rest.
	mu       sync.Mutex
	devices  map[uint32]string // steady ones, by stream
	next     map[string]uint64 // the next sample of each
	samples  uint64
	lost     uint64
	outcomes map[string]int // of each command
	asked    int
	wrong    []string
}

func newWatcher(addr, name, token string, pause time.Duration) (*watcher, error) {
	buffer := 0
	if pause > 0 {
		buffer = 4096
	}
	p, err := dial(addr, "/ws/frontend/"+name, token, buffer)
	if err != nil {
		return nil, err
	}
	w := &watcher{peer: p, name: name, done: make(chan struct{}), devices: map[uint32]string{}, next: map[string]uint64{}, outcomes: map[string]int{}}
	p.pause.Store(int64(pause))
	p.onText, p.onTelemetry = w.text, w.telemetry
	go func() {
		defer close(w.done)
		p.run()
	}()
	return w, nil
}

func (w *watcher) text(m protocol.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Re != "" {
		if _, ok := w.outcomes[m.Re]; !ok {
			w.wrong = append(w.wrong, "an answer to nothing: "+m.Re)
		}
		w.outcomes[m.Re]++
	}
	switch m.Type {
	case protocol.TypeWelcome:
		var welcome protocol.Welcome
		if err := json.Unmarshal(m.Payload, &welcome); err != nil {
			w.wrong = append(w.wrong, err.Error())
		}
		for _, d := range welcome.Devices {
			w.knows(d.DeviceID, d.Stream)
		}
	case protocol.TypeDeviceOnline:
		var d protocol.DeviceNotice
		if err := json.Unmarshal(m.Payload, &d); err != nil {
			w.wrong = append(w.wrong, err.Error())
		}
		w.knows(d.DeviceID, d.Stream)
	case protocol.TypeLost:
		var l protocol.Lost
		if err := json.Unmarshal(m.Payload, &l); err != nil {
			w.wrong = append(w.wrong, err.Error())
		}
		if id, ok := w.devices[l.Stream]; ok {
			w.advance(id, l.From, l.To)
			w.lost += l.To - l.From
		}
	}
}

func (w *watcher) knows(id string, stream uint32) {
	if steady(id) {
		w.devices[stream] = id
	}
}

func (w *watcher) telemetry(h protocol.TelemetryHeader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.devices[h.Stream]; ok {
		w.advance(id, h.Seq, h.Seq+uint64(h.Count))
		w.samples += uint64(h.Count)
	}
}

// advance accounts for samples [from, to), received or reported lost, which
// must be the next ones.
func (w *watcher) advance(id string, from, to uint64) {
	if next, ok := w.next[id]; ok && next != from && len(w.wrong) < 10 {
		w.wrong = append(w.wrong, fmt.Sprintf("%s of %s: sample %d comes, %d is next", w.name, id, from, next))
	}
	w.next[id] = to
}

// command sends one command.
func (w *watcher) command(to string) {
	w.mu.Lock()
	w.asked++
	id := fmt.Sprint(w.asked)
	w.outcomes[id] = 0
	w.mu.Unlock()
	w.Text(`{"type":"do.it","id":%q,"dst":%q,"timeout_ms":2000}`, id, to)
}

// open returns the commands without an outcome.
func (w *watcher) open() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, count := range w.outcomes {
		if count == 0 {
			n++
		}
	}
	return n
}

// problems returns the errors found; commands without an outcome are not among
// them.
func (w *watcher) problems() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.wrong
	for id, count := range w.outcomes {
		if count > 1 {
			all = append(all, fmt.Sprintf("%s: command %s has %d outcomes", w.name, id, count))
		}
	}
	return all
}

// comeAndGo is a device that connects, works for a moment, and disconnects in
// a random way. Sometimes it reconnects before its old connection has ended.
func comeAndGo(g *gateway, i int) {
	id := fmt.Sprintf("visitor-%d", rand.IntN(10))
	token := g.credentials.visitor()
	if i%2 == 0 {
		token = g.credentials.jwt("device", id, time.Duration(1+rand.IntN(300))*time.Millisecond)
	}
	d, err := newDevice(g.Addr, id, token)
	if err != nil {
		return
	}
	stop := make(chan struct{})
	go d.stream(stop)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
	close(stop)
	switch i % 3 {
	case 0:
		d.Leave()
	case 1:
		d.Reset()
	default:
		_ = d.Conn.(*net.TCPConn).CloseWrite()
	}
	select {
	case <-d.done:
	case <-time.After(gatewaytest.Patience):
		d.Reset()
	}
}

// dieReading is a front end that reads slowly or not at all, and ends without
// a close frame.
func dieReading(g *gateway, i int) {
	p, err := dial(g.Addr, "/ws/frontend", g.credentials.frontend, 4096)
	if err != nil {
		return
	}
	p.pause.Store(int64(i%3) * int64(50*time.Millisecond))
	if i%4 > 0 {
		go p.run()
	}
	time.Sleep(time.Duration(rand.IntN(800)) * time.Millisecond)
	p.Reset()
}

// talkNonsense sends input that breaks a rule of HTTP, RFC 6455 or labgate.v1,
// or random bytes.
func talkNonsense(g *gateway, i int) {
	junk := make([]byte, 1+rand.IntN(2000))
	for k := range junk {
		junk[k] = byte(rand.Uint32())
	}
	if i%4 == 0 {
		conn, err := net.Dial("tcp", g.Addr)
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write(append([]byte("GET /ws/frontend HTTP/1.1\r\nHost: x\r\n"), junk...))
		return
	}
	path, token := "/ws/device/nonsense", g.credentials.device
	if i%2 == 1 {
		path, token = "/ws/frontend/nonsense", g.credentials.frontend
	}
	p, err := dial(g.Addr, path, token, 0)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run()
	}()
	switch i % 4 {
	case 1:
		_ = p.Write(junk)
	case 2:
		p.Send(wsframe.OpText, junk)
	default:
		for range 50 {
			p.Send(wsframe.OpText, []byte(`{"type":"gateway.welcome","dst":"@nowhere"}`))
		}
		p.Send(wsframe.OpBinary, junk)
	}
	select {
	case <-done:
	case <-time.After(200 * time.Millisecond):
		p.Reset()
		<-done
	}
}

// kick ends a session through the HTTP API, but not that of a steady peer.
func kick(g *gateway, _ int) {
	res, err := g.api(http.MethodGet, "/v1/sessions")
	if err != nil {
		return
	}
	var list struct {
		Sessions []struct{ Session, Name string }
	}
	err = json.NewDecoder(res.Body).Decode(&list)
	_ = res.Body.Close()
	if err != nil {
		return
	}
	for _, s := range list.Sessions {
		if steady(s.Name) {
			continue
		}
		if res, err := g.api(http.MethodDelete, "/v1/sessions/"+s.Session); err == nil {
			_ = res.Body.Close()
		}
		return
	}
}

func (g *gateway) api(method, path string) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://"+g.Addr+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.credentials.frontend)
	return http.DefaultClient.Do(req)
}
