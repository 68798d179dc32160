package server

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// metrics scrapes the gateway and checks the text. The values are by name, and
// by name and labels but the node's.
func (g *gateway) metrics() map[string]float64 {
	g.t.Helper()
	status, text := g.askAdmin("/metrics")
	if status != 200 {
		g.t.Fatalf("/metrics: %d %s", status, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		g.t.Fatalf("/metrics cannot be parsed: %v", err)
	}
	for _, p := range problems {
		g.t.Errorf("%s: %s", p.Metric, p.Text)
	}
	all := map[string]float64{}
	node := fmt.Sprintf("node=%q", g.opts.Node)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || !strings.HasPrefix(line, "labgate_") {
			continue
		}
		series, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "labgate_"), "} ")
		name, labels, _ := strings.Cut(series, "{")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !strings.Contains(labels, node) {
			g.t.Errorf("%s: %v", line, err)
		}
		all[name] += v
		labels = strings.Trim(strings.ReplaceAll(labels, node, ""), ",")
		all[name+"{"+labels+"}"] = v
	}
	return all
}

// TestMetrics does something for every metric but those of accept errors,
// which TestDescriptorsUsedUp has, and of growth, which is a matter of minutes.
func TestMetrics(t *testing.T) {
	g := prepare(t, mode{io: eventloop.IOMixed}, func(o *Options) {
		o.Version, o.MaxConnections, o.WriteTimeout = "v1.2.3", 12, 300*time.Millisecond
		o.TelemetryBytes, o.InflightBytes = 64<<10, 16<<10
		o.MaxMessageRate, o.MessageBurst = 1, 10
	})
	g.onMessage(func(next session.Callbacks, s *session.Session, op wsframe.Opcode, payload []byte) error {
		if string(payload) == `"panic"` {
			panic("injected")
		}
		return next.OnMessage(s, op, payload)
	})
	g.start()
	before := g.metrics()
	for name, want := range map[string]float64{
		"connections{}": 0, "sessions_total{}": 0, "devices{}": 0, `sessions{role="device"}`: 0, `sessions{role="frontend"}`: 0,
		"session_growth_alarms_total{}": 0, "accept_errors_total{}": 0, `build_info{version="v1.2.3"}`: 1,
	} {
		if got, ok := before[name]; !ok || got != want {
			t.Errorf("%s is %v (%v) at first, want %v", name, got, ok, want)
		}
	}

	// The first two are blocking: one will stall, one stays.
	g.upgradeNarrow("/ws/frontend/stalled")
	fe := g.upgrade("/ws/frontend?telemetry=none")
	g.upgradeNarrow("/ws/frontend/slow")
	dev := g.upgrade("/ws/device/d")
	for g.manager.Len() == 4 || g.manager.Stats().LostSamples.Load() == 0 {
		dev.send(wsframe.OpBinary, telemetry(0, 1000))
		time.Sleep(time.Millisecond)
	}
	fe.text(`{"type":"a.command","id":"c","dst":"d"}`)
	c := dev.await("a.command")
	dev.text(`{"type":"an.answer","re":%q}`, c.ID)
	fe.await("an.answer")
	fe.text("not an envelope")
	fe.await(protocol.TypeError)
	for range 12 {
		fe.text(`{"type":"too.many","dst":"d"}`)
	}
	fe.await(protocol.TypeError)
	bad := refusalCase{"", request("/ws/nowhere"), 404, protocol.ErrNotFound, "", ""}
	open := g.admission.Counters().Connections.Load()
	bad.check(t, g)
	g.eventually("the refused connection is gone", func() bool { return g.admission.Counters().Connections.Load() <= open })
	panics := g.upgrade("/ws/frontend")
	panics.send(wsframe.OpText, []byte(`"panic"`))
	panics.expectClose(protocol.CloseInternal)
	for range 7 {
		g.upgrade("/ws/device/again")
	}
	g.eventually("the replaced are gone", func() bool { return g.manager.Len() == 4 })
	var more []*peer
	for g.admission.Counters().Connections.Load() < 12 {
		p, err := g.tryUpgrade("/ws/frontend")
		if err != nil {
			break
		}
		more = append(more, p)
	}
	if _, err := g.tryUpgrade("/ws/frontend"); err == nil {
		t.Error("one more than the limit came in")
	}

	after := g.metrics()
	for _, name := range []string{
		"sessions", "sessions_by_health", "devices", "connections", "sessions_total", "session_closes_total",
		"handshakes_refused_total", "connections_refused_total", "panics_total",
		"text_messages_in_total", "telemetry_frames_in_total", "samples_in_total",
		"text_messages_out_total", "telemetry_frames_out_total", "samples_out_total", "bytes_out_total", "writes_total",
		"write_errors_total", "samples_lost_total", "telemetry_frames_lost_total", "commands_total", "answers_total", "errors_total",
		"bad_messages_total", "rate_limited_total", "device_replacements_total", "device_replacement_alarms_total",
		"device_metrics_omitted",
	} {
		if after[name] <= before[name] {
			t.Errorf("%s did not move: %v, then %v", name, before[name], after[name])
		}
	}
	for name, want := range map[string]float64{
		"devices{}": 2, `sessions{role="device"}`: 2, `sessions{role="frontend"}`: float64(2 + len(more)), "connections{}": float64(g.admission.Counters().Connections.Load()),
		"panics_total{}": 1, "answers_total{}": 1, `session_closes_total{reason="replaced"}`: 6, `session_closes_total{reason="internal_error"}`: 1,
		`session_closes_total{reason="connection_lost"}`: 1, "write_errors_total{}": 1, "device_replacements_total{}": 6,
		"device_replacement_alarms_total{}": 1, `handshakes_refused_total{reason="not_found"}`: 1,
	} {
		if got := after[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	names := slices.Sorted(maps.Keys(after))
	if n := len(slices.DeleteFunc(names, func(s string) bool { return strings.Contains(s, "{") })); n != 34 {
		t.Errorf("%d metrics, this test knows of 34", n)
	}
}

// TestDeviceMetrics is what an alert on a device that is gone is made of.
func TestDeviceMetrics(t *testing.T) {
	g := start(t, modes[0], func(o *Options) { o.DeviceMetrics = 2 })
	dev := g.upgrade("/ws/device/tensile-1")
	g.upgrade("/ws/device/press.2:left")
	g.upgrade("/ws/device/one-more")
	began := float64(time.Now().UnixMilli()) / 1000
	dev.send(wsframe.OpBinary, telemetry(0, 250))
	g.eventually("the samples are counted", func() bool { return g.metrics()[`device_samples_in_total{device="tensile-1"}`] == 250 })
	check := func(when string, want map[string]float64) {
		t.Helper()
		got := g.metrics()
		for name, v := range want {
			if n, there := got[name]; !there || n != v {
				t.Errorf("%s: %s is %v (%v), want %v", when, name, n, there, v)
			}
		}
		if seen := got[`device_last_seen_timestamp_seconds{device="tensile-1"}`]; seen < began-1 || seen > float64(time.Now().UnixMilli())/1000 {
			t.Errorf("%s: last seen %v s after the beginning", when, seen-began)
		}
		for name := range got {
			if strings.Contains(name, "one-more") {
				t.Errorf("%s: %s is one more than the bound", when, name)
			}
		}
	}
	check("online", map[string]float64{
		`device_online{device="tensile-1"}`: 1, `device_online{device="press.2:left"}`: 1, `device_health_score{device="tensile-1"}`: 100,
		`device_samples_lost_total{cause="slow_consumer",device="tensile-1"}`: 0, `device_samples_lost_total{cause="bus",device="tensile-1"}`: 0, "device_metrics_omitted{}": 1,
	})
	_, text := g.askAdmin("/metrics")
	document, err := os.ReadFile("../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`labgate_[a-z_]+`).FindAllString(string(document), -1) {
		if !strings.Contains(text, "\n"+name+"{") {
			t.Errorf("docs/operation.md: there is no metric %s", name)
		}
	}
	dev.vanish()
	g.eventually("the device is gone", func() bool { return g.metrics()[`device_online{device="tensile-1"}`] == 0 })
	check("offline", map[string]float64{
		`device_online{device="tensile-1"}`: 0, `device_online{device="press.2:left"}`: 1, `device_health_score{device="tensile-1"}`: 0,
		`device_samples_in_total{device="tensile-1"}`: 250, "device_metrics_omitted{}": 1,
	})
}

func TestAdminEndpoints(t *testing.T) {
	g := start(t, modes[0], func(o *Options) { o.Version = "v9" })
	for path, want := range map[string]string{
		"/healthz":                       `"version":"v9"`,
		"/readyz":                        `"status":"ready"`,
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/cmdline":           "test",
		"/debug/pprof/goroutine?debug=1": "goroutine profile",
		"/metrics":                       "go_goroutines",
	} {
		if status, body := g.askAdmin(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.300s", path, status, body)
		}
	}
	if status, _ := g.askAdmin("/elsewhere"); status != 404 {
		t.Errorf("/elsewhere: %d", status)
	}
	// What is public is not on the admin listener, and the other way round.
	if status, _ := g.askAdmin("/v1/devices"); status != 404 {
		t.Errorf("/v1/devices on the admin listener: %d", status)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/healthz"} {
		if status, _ := g.call("GET", path, ""); status != 404 {
			t.Errorf("%s on the public listener: %d", path, status)
		}
	}
}

// TestAdminAnswersWhileThePollerIsBusy is why it has a listener of its own.
func TestAdminAnswersWhileThePollerIsBusy(t *testing.T) {
	g := prepare(t, modes[0], func(o *Options) { o.Pollers = 1 })
	release, held := make(chan struct{}), make(chan struct{})
	g.onMessage(func(next session.Callbacks, s *session.Session, op wsframe.Opcode, payload []byte) error {
		if strings.Contains(string(payload), "hold.it") {
			close(held)
			<-release
		}
		return next.OnMessage(s, op, payload)
	})
	g.start()
	fe := g.upgrade("/ws/frontend/a")
	fe.text(`{"type":"hold.it","dst":"@user/a"}`)
	<-held
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if status, _ := g.askAdmin(path); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	close(release)
	fe.await("hold.it")
}
