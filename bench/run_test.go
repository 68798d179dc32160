package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// short is a run of about a quarter of a second.
func short(scenario, url string) Options {
	return Options{
		Scenario: scenario, Target: url, Devices: 2, Frontends: 3, Rate: 1000,
		Duration: 150 * time.Millisecond, Warmup: 20 * time.Millisecond, Drain: 400 * time.Millisecond,
		Timeout: 30 * time.Second, CommandTimeout: 5 * time.Second,
	}
}

// kinds runs o and returns the kinds of problems found.
func kinds(t *testing.T, o Options) (*Report, []string) {
	t.Helper()
	rep, err := Run(context.Background(), o)
	if rep == nil {
		t.Fatalf("no report: %v", err)
	}
	var failed *Error
	switch {
	case rep.OK && err != nil:
		t.Fatalf("report says ok, error %v", err)
	case !rep.OK && !errors.As(err, &failed):
		t.Fatalf("checks failed, but the error is %v", err)
	}
	var found []string
	for _, p := range rep.Problems {
		found = append(found, p.Kind)
	}
	slices.Sort(found)
	return rep, found
}

// nth applies a trick to one front end's frame or message only.
func nth(n int, name string, f func(msg []byte) [][]byte) func(*fakePeer, int, []byte) [][]byte {
	return func(p *fakePeer, i int, msg []byte) [][]byte {
		if i == n && strings.HasSuffix(p.name, name) {
			return f(msg)
		}
		return [][]byte{msg}
	}
}

func lostReport(frame []byte, by uint64) []byte {
	var h protocol.TelemetryHeader
	if err := h.Parse(frame); err != nil {
		panic(err)
	}
	return gatewayMessage(protocol.TypeLost, "", protocol.Lost{Stream: h.Stream, From: h.Seq, To: h.End() + by, Cause: "overflow"})
}

func TestTelemetryVerification(t *testing.T) {
	none := func([]byte) [][]byte { return nil }
	hold := func(p *fakePeer, n int, f []byte) [][]byte {
		if n == 50 {
			p.held = bytes.Clone(f)
			return nil
		}
		if held := p.held; held != nil && held[4] == f[4] { // the same stream
			p.held = nil
			return [][]byte{f, held}
		}
		return [][]byte{f}
	}
	for _, tc := range []struct {
		name      string
		tricks    tricks
		allowLoss bool
		want      []string
	}{
		{name: "honest"},
		{name: "honest, fragments and pings", tricks: tricks{fragment: true}},
		{name: "honest, welcome in pieces", tricks: tricks{greetSlow: true}},
		{name: "drops in silence", tricks: tricks{telemetry: nth(50, "-f1", none)}, want: []string{problemMissing}},
		{name: "drops in silence, loss allowed", tricks: tricks{telemetry: nth(50, "-f1", none)}, allowLoss: true, want: []string{problemMissing}},
		{name: "drops and tells", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			return [][]byte{lostReport(f, 0)}
		})}, want: []string{problemLost}},
		{name: "drops and tells, loss allowed", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			return [][]byte{lostReport(f, 0)}
		})}, allowLoss: true},
		{name: "tells a sample too many", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			return [][]byte{lostReport(f, 1)}
		})}, allowLoss: true, want: []string{problemFalseLost}},
		{name: "tells without dropping", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			return [][]byte{lostReport(f, 0), f}
		})}, allowLoss: true, want: []string{problemFalseLost}},
		{name: "duplicates", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte { return [][]byte{f, f} })}, want: []string{problemDuplicate}},
		{name: "reorders", tricks: tricks{telemetry: hold}, want: []string{problemDisorder}},
		{name: "damages the values", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			f = bytes.Clone(f)
			f[len(f)-1] ^= 1
			return [][]byte{f}
		})}, want: []string{problemMissing, problemCorrupt}},
		{name: "swaps streams", tricks: tricks{telemetry: nth(50, "-f1", func(f []byte) [][]byte {
			f = bytes.Clone(f)
			f[4] = 3 - f[4]
			return [][]byte{f}
		})}, want: []string{problemMissing, problemCorrupt}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := short(ScenarioTelemetry, newFake(t, tc.tricks).url())
			o.Samples, o.Channels, o.AllowLoss = 5, 2, tc.allowLoss
			rep, found := kinds(t, o)
			if !slices.Equal(found, tc.want) {
				t.Fatalf("problems %v, want kinds %q", rep.Problems, tc.want)
			}
			d := rep.Results.Telemetry
			if d.UnitsSent != 2*170 || d.Expected != 3*d.UnitsSent {
				t.Errorf("%d samples sent, %d expected; want 2 devices × 1000/s × 0.17 s, 3 front ends", d.UnitsSent, d.Expected)
			}
			if d.Received+d.LostReported+d.Missing != d.Expected {
				t.Errorf("%d received + %d lost + %d missing is not %d", d.Received, d.LostReported, d.Missing, d.Expected)
			}
			if d.Latency == nil || d.Latency.Count == 0 {
				t.Error("no latency")
			}
		})
	}
}

func TestFanoutDisconnects(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(p *fakePeer)
		says string
	}{
		{"without a close frame", func(p *fakePeer) { p.nc.Close() }, "without a close frame"},
		{"slow consumer", func(p *fakePeer) {
			p.raw(wsframe.AppendClose(nil, uint16(protocol.CloseSlowConsumer), "slow_consumer"))
		}, `4004 "slow_consumer"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tr := tricks{telemetry: func(p *fakePeer, n int, f []byte) [][]byte {
				if n == 60 && strings.HasSuffix(p.name, "-f1") {
					tc.end(p)
				}
				return [][]byte{f}
			}}
			rep, found := kinds(t, short(ScenarioFanout, newFake(t, tr).url()))
			if !slices.Equal(found, []string{problemClosed, problemMissing}) {
				t.Fatalf("problems %v", rep.Problems)
			}
			if s := rep.Problems[0].First; !strings.Contains(s, tc.says) || !strings.Contains(s, "front end 1") {
				t.Errorf("problem %q does not say %q of front end 1", s, tc.says)
			}
		})
	}
}

func TestUnicastVerification(t *testing.T) {
	for _, tc := range []struct {
		name string
		text func(p *fakePeer, n int, msg []byte) [][]byte
		want []string
	}{
		{name: "honest"},
		{"drops", nth(20, "-d1", func([]byte) [][]byte { return nil }), []string{problemMissing}},
		{"duplicates", nth(20, "-d1", func(m []byte) [][]byte { return [][]byte{m, m} }), []string{problemDuplicate}},
		{"forges src", nth(20, "-d1", func(m []byte) [][]byte {
			return [][]byte{bytes.Replace(m, []byte("-f1"), []byte("-f2"), 1)}
		}), []string{problemMissing, problemCorrupt}},
		{"wrong peer", func(p *fakePeer, n int, m []byte) [][]byte {
			if n == 20 && strings.HasSuffix(p.name, "-d1") {
				for q := range p.g.peers {
					if strings.HasSuffix(q.name, "-d2") {
						q.raw(wsframe.AppendFrame(nil, wsframe.OpText, m))
					}
				}
				return nil
			}
			return [][]byte{m}
		}, []string{problemMissing, problemMisrouted}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := short(ScenarioUnicast, newFake(t, tricks{text: tc.text}).url())
			rep, found := kinds(t, o)
			if !slices.Equal(found, tc.want) {
				t.Fatalf("problems %v, want kinds %q", rep.Problems, tc.want)
			}
		})
	}
}

func TestBareServers(t *testing.T) {
	for _, tc := range []struct {
		name, bare, scenario string
		text                 func(p *fakePeer, n int, msg []byte) [][]byte
		want                 []string
	}{
		{"relay", BareRelay, ScenarioUnicast, nil, nil},
		{"round trips", BareRelay, ScenarioCommands, nil, nil},
		{"echo", BareEcho, ScenarioUnicast, nil, nil},
		{"idle", BareIdle, ScenarioIdle, nil, nil},
		{"a relay that drops", BareRelay, ScenarioUnicast, nth(20, "/relay/1", func([]byte) [][]byte { return nil }), []string{problemMissing}},
		{"an echo that drops", BareEcho, ScenarioUnicast, func(p *fakePeer, n int, m []byte) [][]byte {
			if n == 20 {
				return nil
			}
			return [][]byte{m}
		}, []string{problemMissing}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := short(tc.scenario, newFake(t, tricks{bare: tc.bare, text: tc.text}).url())
			o.Bare, o.Connections = tc.bare, 5
			rep, found := kinds(t, o)
			if !slices.Equal(found, tc.want) {
				t.Fatalf("problems %v, want kinds %q", rep.Problems, tc.want)
			}
			res := &rep.Results
			switch {
			case res.Unicast != nil && res.Unicast.Expected != res.Unicast.Received+res.Unicast.Missing,
				res.Unicast != nil && res.Unicast.Latency == nil,
				res.Commands != nil && res.Commands.Answered == 0,
				res.Idle != nil && res.Idle.Connections != 5:
				t.Fatalf("%+v", res)
			}
		})
	}
}

func TestCommandVerification(t *testing.T) {
	isAnswer := func(m []byte) bool { return bytes.Contains(m, []byte(`"re":"`)) }
	for _, tc := range []struct {
		name string
		text func(p *fakePeer, n int, msg []byte) [][]byte
		want []string
	}{
		{name: "honest"},
		{"drops a command", nth(20, "-d1", func([]byte) [][]byte { return nil }), []string{problemUnanswered}},
		{"drops an answer", nth(20, "-f1", func([]byte) [][]byte { return nil }), []string{problemUnanswered}},
		{"delivers twice", nth(20, "-d1", func(m []byte) [][]byte { return [][]byte{m, m} }), []string{problemDuplicate}},
		{"answers twice", nth(20, "-f1", func(m []byte) [][]byte { return [][]byte{m, m} }), []string{problemDuplicate}},
		{"refuses", nth(20, "-f1", func(m []byte) [][]byte {
			return [][]byte{gatewayMessage(protocol.TypeError, string(field(m, `"re":`)), protocol.Error{Code: protocol.ErrTimeout, Message: "no answer"})}
		}), []string{problemRefused}},
		{"keeps its own id", nth(20, "-f1", func(m []byte) [][]byte {
			return [][]byte{bytes.Replace(m, field(m, `"re":`), []byte("g77"), 1)}
		}), []string{problemUnanswered, problemCorrupt}},
		{"wrong asker", func(p *fakePeer, n int, m []byte) [][]byte {
			if n == 20 && strings.HasSuffix(p.name, "-f1") && isAnswer(m) {
				for q := range p.g.peers {
					if strings.HasSuffix(q.name, "-f2") {
						q.raw(wsframe.AppendFrame(nil, wsframe.OpText, m))
					}
				}
				return nil
			}
			return [][]byte{m}
		}, []string{problemUnanswered, problemMisrouted}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := short(ScenarioCommands, newFake(t, tricks{text: tc.text}).url())
			o.UrgentShare = 0.25
			rep, found := kinds(t, o)
			if !slices.Equal(found, tc.want) {
				t.Fatalf("problems %v, want kinds %q", rep.Problems, tc.want)
			}
			c := rep.Results.Commands
			if c.Sent != 170 || c.Answered+c.Refused+c.Unanswered != c.Sent {
				t.Errorf("%+v: want 170 sent, each answered, refused or neither", c)
			}
			if c.Urgent == nil || c.Latency == nil || c.Urgent.Count > c.Latency.Count/2 {
				t.Errorf("urgent %+v, plain %+v: want a quarter urgent", c.Urgent, c.Latency)
			}
		})
	}
}

func TestHandshakeProblems(t *testing.T) {
	for _, tc := range []struct {
		name   string
		tricks tricks
		want   string
		says   string
	}{
		{"refused", tricks{status: 503}, problemConnect, "503 Service Unavailable no"},
		{"unauthorized", tricks{token: "other"}, problemConnect, "401"},
		{"accept key", tricks{badAccept: true}, problemConnect, "Sec-WebSocket-Accept"},
		{"no welcome", tricks{mute: true}, problemConnect, "no gateway.welcome"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := short(ScenarioFanout, newFake(t, tc.tricks).url())
			o.DeviceToken, o.FrontendToken = "secret", "secret"
			o.ConnectTimeout = 50 * time.Millisecond
			if !tc.tricks.mute {
				o.ConnectTimeout = 10 * time.Second
			}
			rep, found := kinds(t, o)
			if !slices.Equal(found, []string{tc.want}) || !strings.Contains(rep.Problems[0].First, tc.says) {
				t.Fatalf("problems %v, want %q saying %q", rep.Problems, tc.want, tc.says)
			}
		})
	}
}

// TestStallIsCharged stops the gateway for a while: the latency of every
// message that became due meanwhile must include the wait, not only that of the
// first message.
func TestStallIsCharged(t *testing.T) {
	t.Parallel()
	const stall = 120 * time.Millisecond
	tr := tricks{telemetry: func(p *fakePeer, n int, f []byte) [][]byte {
		if n == 30 && strings.HasSuffix(p.name, "-f0") {
			time.Sleep(stall)
		}
		return [][]byte{f}
	}}
	o := short(ScenarioFanout, newFake(t, tr).url())
	o.Devices, o.Frontends = 1, 1
	rep, found := kinds(t, o)
	if len(found) != 0 {
		t.Fatalf("problems %v", rep.Problems)
	}
	l := rep.Results.Telemetry.Latency
	if l.Max < float64(stall.Microseconds())*0.9 || l.P50 < 10e3 {
		t.Errorf("latency %+v: 120 of 150 ms were stalled, so that half of all messages waited", *l)
	}
}

func TestIdleAndStorm(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		o := short(ScenarioIdle, newFake(t, tricks{}).url())
		o.Devices, o.Frontends, o.Connections, o.ConnectRate = 0, 0, 20, 2000
		rep, found := kinds(t, o)
		if len(found) != 0 || rep.Results.Idle.Connections != 20 {
			t.Fatalf("problems %v, %+v", rep.Problems, rep.Results.Idle)
		}
	})
	for _, drop := range []string{"reset", "fin"} {
		t.Run("storm "+drop, func(t *testing.T) {
			t.Parallel()
			o := short(ScenarioStorm, newFake(t, tricks{}).url())
			o.Connections, o.Drop = 30, drop
			rep, found := kinds(t, o)
			s := rep.Results.Storm
			if len(found) != 0 || s.Dropped != 30 || s.Back.Open != 30 {
				t.Fatalf("problems %v, %+v", rep.Problems, s)
			}
			if s.Before == nil || s.After == nil {
				t.Errorf("latency before %v, after %v", s.Before, s.After)
			}
		})
	}
}

func TestRunRefusesWithoutAReport(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(o *Options)
		says string
	}{
		{"no scenario", func(o *Options) { o.Scenario = "x" }, "scenario"},
		{"files", func(o *Options) { o.Scenario, o.Connections = ScenarioIdle, 20000 }, "RLIMIT_NOFILE"},
		{"frame size", func(o *Options) { o.Size = 129 }, "use 128"},
		{"admin", func(o *Options) { o.AdminURL = "http://192.0.2.1:1" }, "--allow-remote"},
		{"pid", func(o *Options) { o.ServerPID = 1 << 30 }, "server-pid"},
		{"pid of no second node", func(o *Options) { o.FrontendPID = 1 }, "frontend-target"},
		{"rate", func(o *Options) { o.Rate = -1 }, "rate"},
		{"bare", func(o *Options) { o.Bare = BareEcho }, "bare"},
		{"command devices", func(o *Options) { o.CommandDevices = 1 }, "command-devices"},
		{"urgent share", func(o *Options) { o.UrgentShare = 1.5 }, "urgent-share"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := short(ScenarioFanout, "http://127.0.0.1:1")
			tc.edit(&o)
			rep, err := Run(context.Background(), o)
			if rep != nil || err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("report %v, error %v; want an error saying %q", rep, err, tc.says)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	o := short(ScenarioFanout, newFake(t, tricks{}).url())
	o.Duration, o.Timeout = time.Minute, 300*time.Millisecond
	rep, err := Run(context.Background(), o)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "--timeout") || rep == nil || rep.OK {
		t.Fatalf("report %v, error %v; want the timeout named", rep, err)
	}
}

func TestReportIsOneJSONObjectAndATable(t *testing.T) {
	t.Parallel()
	o := short(ScenarioTelemetry, newFake(t, tricks{}).url())
	o.CommandRate, o.Size = 200, 100
	var line bytes.Buffer
	o.Progress = &line
	rep, found := kinds(t, o)
	if len(found) != 0 {
		t.Fatalf("problems %v", rep.Problems)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Results.Telemetry.Received != rep.Results.Telemetry.Received {
		t.Fatalf("%v: %s", err, b)
	}
	var out strings.Builder
	if err := rep.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"telemetry", "commands", "p99.9", "verdict", "ok", "go1."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
	if !strings.Contains(line.String(), "telemetry") {
		t.Errorf("progress line %q", line.String())
	}
}

// TestCommandDevices: these devices get all commands and send no telemetry.
func TestCommandDevices(t *testing.T) {
	t.Parallel()
	o := short(ScenarioTelemetry, newFake(t, tricks{}).url())
	o.CommandRate, o.Size, o.Devices, o.CommandDevices = 200, 100, 1, 3
	rep, found := kinds(t, o)
	if len(found) != 0 || rep.Results.Connects.Open != o.Devices+o.CommandDevices+o.Frontends {
		t.Fatalf("problems %v, connections %+v", rep.Problems, rep.Results.Connects)
	}
	d, c := rep.Results.Telemetry, rep.Results.Commands
	if want := d.UnitsSent * uint64(o.Frontends); d.Received != want || d.FramesSent == 0 {
		t.Errorf("%d samples received, want %d of %d frames of one device", d.Received, want, d.FramesSent)
	}
	if c.Answered != c.Sent || c.Sent == 0 {
		t.Errorf("%d of %d commands answered", c.Answered, c.Sent)
	}
}

// TestLongTick ends the measurement between two ticks of the senders: messages
// that are due by then are still sent and verified.
func TestLongTick(t *testing.T) {
	for scenario, want := range map[string]uint64{ScenarioFanout: 340, ScenarioUnicast: 170, ScenarioCommands: 170} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			o := short(scenario, newFake(t, tricks{}).url())
			o.Tick = 120 * time.Millisecond // ticks at 0, 120 and 240 ms; the end is at 170 ms
			rep, found := kinds(t, o)
			if len(found) > 0 {
				t.Fatalf("problems %v", rep.Problems)
			}
			var sent uint64
			switch res := &rep.Results; {
			case res.Telemetry != nil:
				sent = res.Telemetry.FramesSent
			case res.Unicast != nil:
				sent = res.Unicast.FramesSent
			default:
				sent = res.Commands.Sent
			}
			if sent != want {
				t.Errorf("%d messages sent, %d were due", sent, want)
			}
		})
	}
}
