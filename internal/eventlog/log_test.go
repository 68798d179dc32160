package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/events"
)

var (
	id      = uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8")
	began   = events.SessionBegan{Session: id, Role: "device", Name: "tensile-1", Remote: "192.0.2.7:4711", Credential: "token:hall-2#5f1c"}
	errGone = errors.New("--credential-file: tokens: no such file")
)

// TestLines: each event is one line with these fields and no others.
func TestLines(t *testing.T) {
	command := events.Command{
		Number: 7, ID: "c-1", Type: "test.stop", Device: "tensile-1", Urgent: true,
		Asker: events.Asker{Source: "@user/ada", Session: id, Remote: "192.0.2.8:1", Credential: "token:ada#1"},
	}
	for _, c := range []struct {
		name string
		tell func(events.Listener)
		want map[string]any // nil for no line
	}{
		{"session began", func(l events.Listener) { l.SessionBegan(began) }, map[string]any{
			"level": "info", "message": "session began", "session": id.String(), "role": "device", "name": "tensile-1", "remote": "192.0.2.7:4711", "credential": "token:hall-2#5f1c"}},
		{"session ended", func(l events.Listener) {
			l.SessionEnded(events.SessionEnded{SessionBegan: began, Code: 4002, Reason: "heartbeat_timeout", Detail: "nothing heard", Duration: 90*time.Second + 1500*time.Microsecond})
		}, map[string]any{
			"level": "info", "message": "session ended", "session": id.String(), "role": "device", "name": "tensile-1", "remote": "192.0.2.7:4711", "credential": "token:hall-2#5f1c",
			"code": 4002.0, "reason": "heartbeat_timeout", "detail": "nothing heard", "duration_ms": 90001.5}},
		{"connection refused", func(l events.Listener) {
			l.ConnectionRefused(events.ConnectionRefused{Remote: "192.0.2.9:1", Status: 503, Reason: "too many"})
		}, map[string]any{"level": "info", "message": "connection refused", "remote": "192.0.2.9:1", "status": 503.0, "reason": "too many"}},
		{"handshake refused", func(l events.Listener) {
			l.HandshakeRefused(events.HandshakeRefused{Remote: "192.0.2.9:1", Path: "/ws/frontend", Status: 403, Origin: "https://evil.example", Reason: "header Origin: not allowed"})
		}, map[string]any{
			"level": "info", "message": "handshake refused", "remote": "192.0.2.9:1", "path": "/ws/frontend", "status": 403.0, "origin": "https://evil.example", "reason": "header Origin: not allowed"}},
		{"request refused", func(l events.Listener) {
			l.RequestRefused(events.RequestRefused{Remote: "192.0.2.9:1", Method: "GET", Path: "/v1/devices", Status: 401, Credential: "token:old#2", Reason: "expired"})
		}, map[string]any{
			"level": "info", "message": "request refused", "remote": "192.0.2.9:1", "method": "GET", "path": "/v1/devices", "status": 401.0, "credential": "token:old#2", "reason": "expired"}},
		{"command began", func(l events.Listener) { l.CommandBegan(command) }, nil},
		{"command ended", func(l events.Listener) {
			l.CommandEnded(events.CommandEnded{Command: command, Outcome: events.OutcomeAnswered, Duration: 1234567 * time.Nanosecond})
		}, map[string]any{
			"level": "info", "message": "command ended", "type": "test.stop", "id": "c-1", "device": "tensile-1", "src": "@user/ada", "session": id.String(), "remote": "192.0.2.8:1",
			"credential": "token:ada#1", "urgent": true, "outcome": "answered", "duration_ms": 1.234}},
		{"command of another node", func(l events.Listener) {
			l.CommandEnded(events.CommandEnded{Command: events.Command{ID: "c-1", Type: "a.b", Device: "d", Asker: events.Asker{Source: "@user/ada", Node: "north"}}, Outcome: "timeout"})
		}, map[string]any{
			"level": "info", "message": "command ended", "type": "a.b", "id": "c-1", "device": "d", "src": "@user/ada", "src_node": "north", "outcome": "timeout", "duration_ms": 0.0}},
		{"credentials", func(l events.Listener) {
			l.FileRead(events.FileRead{Option: "--credential-file", Path: "tokens", Changed: true, Credentials: 3})
		}, map[string]any{
			"level": "info", "message": "file was read again and is in force", "option": "--credential-file", "file": "tokens", "changed": true, "credentials": 3.0}},
		{"credentials that fail", func(l events.Listener) {
			l.FileRead(events.FileRead{Option: "--credential-file", Path: "tokens", Credentials: 3, Err: errGone})
		}, map[string]any{
			"level": "error", "message": "file was read again and cannot be used; what it held before stays in force", "option": "--credential-file", "file": "tokens", "error": errGone.Error()}},
		{"certificate", func(l events.Listener) {
			l.FileRead(events.FileRead{Option: "--tls-cert", Path: "cert.pem", Changed: true, NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)})
		}, map[string]any{
			"level": "info", "message": "file was read again and is in force", "option": "--tls-cert", "file": "cert.pem", "changed": true, "not_after": "2030-01-02T03:04:05Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.tell(New(zerolog.New(&out)))
			if c.want == nil {
				if out.Len() > 0 {
					t.Errorf("got %s", out.String())
				}
				return
			}
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%q: %v", out.String(), err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

// TestLevels: a logger above info gets errors only, and one above error costs
// nothing.
func TestLevels(t *testing.T) {
	for level, want := range map[zerolog.Level]int{zerolog.DebugLevel: 2, zerolog.InfoLevel: 2, zerolog.WarnLevel: 1, zerolog.ErrorLevel: 1} {
		var out bytes.Buffer
		l := New(zerolog.New(&out).Level(level))
		l.SessionBegan(began)
		l.FileRead(events.FileRead{Err: errGone})
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("at %v: %d lines, want %d", level, got, want)
		}
	}
	if l := New(zerolog.Nop()); l != nil {
		t.Errorf("a logger that takes nothing listens: %#v", l)
	}
}

// TestRateIsBoundedAndSuppressedLinesAreSaid: of each kind a burst and then a
// steady rate comes through, whatever the other kinds do, and no line is missing
// from the sum of written and suppressed ones.
func TestRateIsBoundedAndSuppressedLinesAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(zerolog.New(&out))
		const seconds, rate = 10, 1000
		told := 0
		for range seconds * rate {
			l.HandshakeRefused(events.HandshakeRefused{Reason: "no"})
			told++
			time.Sleep(time.Second / rate)
		}
		l.SessionBegan(began)
		if !strings.Contains(out.String(), "session began") {
			t.Error("refused handshakes suppress other lines")
		}
		time.Sleep(time.Minute)
		l.HandshakeRefused(events.HandshakeRefused{Reason: "last"})
		told++

		lines, suppressed := 0, 0
		var last struct {
			Reason     string
			Suppressed int
		}
		for line := range strings.Lines(out.String()) {
			if !strings.Contains(line, "handshake refused") {
				continue
			}
			lines++
			last.Suppressed = 0
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatal(err)
			}
			suppressed += last.Suppressed
		}
		if most := burst + seconds*perSecond + 1; lines > most || lines < most-perSecond {
			t.Errorf("%d lines, want about %d", lines, most)
		}
		if lines+suppressed != told || last.Reason != "last" {
			t.Errorf("%d lines and %d suppressed of %d; the last says %+v", lines, suppressed, told, last)
		}
	})
}

// TestSuppressedLinesOfManyGoroutines: the count is exact.
func TestSuppressedLinesOfManyGoroutines(t *testing.T) {
	l := newLimiter(1, 5)
	var mu sync.Mutex
	var taken, suppressed uint64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				n, ok := l.take(0)
				mu.Lock()
				if suppressed += n; ok {
					taken++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	n, ok := l.take(time.Hour)
	if taken != 5 || !ok || taken+suppressed+n != 8000 {
		t.Errorf("%d taken, %d and %d suppressed, %v", taken, suppressed, n, ok)
	}
}

// TestSuppressedLineCostsNoAllocation: what is not written must not cost a busy
// gateway anything that has to be collected.
func TestSuppressedLineCostsNoAllocation(t *testing.T) {
	l := New(zerolog.Nop().Level(zerolog.InfoLevel))
	e := events.CommandEnded{Outcome: events.OutcomeAnswered}
	for range 2 * burst {
		l.CommandEnded(e)
	}
	if n := testing.AllocsPerRun(1000, func() { l.CommandEnded(e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
