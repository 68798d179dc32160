package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// start runs the command line in the background until the test ends, and
// returns its standard output and error, and its exit code once it has one.
func start(t *testing.T, args ...string) (stdout, stderr *gatewaytest.Lines, code <-chan int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stderr = &gatewaytest.Lines{}, &gatewaytest.Lines{}
	done := make(chan int, 1)
	var ended sync.WaitGroup
	ended.Go(func() { done <- run(ctx, func() {}, args, stdout, stderr) })
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	return stdout, stderr, done
}

// startGateway returns the URL of a gateway that runs until the test ends.
func startGateway(t *testing.T, args ...string) string {
	t.Helper()
	_, stderr, _ := start(t, append([]string{"--log-json", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
	type readyLine struct{ Listen, Message string }
	ready := gatewaytest.AwaitJSON(t, stderr, "ready line", func(l readyLine) bool { return l.Message == "ready" })
	return "ws://" + ready.Listen
}

// send runs `labgate send` to its end.
func send(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), func() {}, append([]string{"send"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

type tailLine struct {
	Type    string
	Src     string
	Payload struct {
		State, Previous, Reason string
		Sample                  uint64
		Device                  string
		Gaps, Lost, Samples     uint64
		Max                     []float64
	}
}

// A first session with the tools: simulate, watch, start a test, see the
// specimen break.
func TestATestFromStartToFracture(t *testing.T) {
	url := startGateway(t)
	seen, _, _ := start(t, "tail", "--json", "--url", url)
	gatewaytest.AwaitJSON(t, seen, "welcome", func(l tailLine) bool { return l.Type == protocol.TypeWelcome })
	start(t, "simulate", "--url", url, "--device", "bench", "--devices", "2", "--rate", "2000", "--samples-per-frame", "20")
	for _, id := range []string{"bench-1", "bench-2"} {
		gatewaytest.AwaitJSON(t, seen, "state of "+id, func(l tailLine) bool {
			return l.Type == "test.state_changed" && l.Src == id && l.Payload.State == "idle" && l.Payload.Reason == "connected"
		})
	}

	for _, step := range []struct {
		args []string
		code int
		want string // in the output, or for a failure in the error
	}{
		{[]string{"bench-1", "test.start"}, 1, `at "/speed_mm_min": is missing`},
		{[]string{"bench-1", "test.start", `{"speed_mm_min":5000}`}, 1, "5000 is too large; allowed: at most 1000"},
		{[]string{"bench-1", "test.stop", "--urgent"}, 3, "device bench-1 refused test.stop: cannot stop while idle"},
		{[]string{"bench-1", "test.explode"}, 3, "unknown command"},
		{[]string{"bench-1", "test.start", `{"speed_mm_min":1000}`}, 0, `"state":"running"`},
		{[]string{"bench-2", "test.start", `{"speed_mm_min":1}`}, 0, `"state":"running"`},
		{[]string{"bench-2", "test.stop", "--urgent"}, 0, `"state":"stopped"`},
		{[]string{"bench-2", "test.reset"}, 0, `"state":"idle"`},
	} {
		code, stdout, stderr := send(append([]string{"--url", url}, step.args...)...)
		got := stdout
		if code != 0 {
			got = stderr
		}
		if code != step.code || !strings.Contains(got, step.want) {
			t.Errorf("send %v: exit code %d, output %q, error %q; want %d and %q", step.args, code, stdout, stderr, step.code, step.want)
		}
	}

	broken := gatewaytest.AwaitJSON(t, seen, "fracture", func(l tailLine) bool {
		return l.Type == "test.state_changed" && l.Src == "bench-1" && l.Payload.State == "fractured"
	})
	if broken.Payload.Previous != "running" || broken.Payload.Reason != "fracture" || broken.Payload.Sample == 0 {
		t.Errorf("fracture told as %+v", broken.Payload)
	}
	gatewaytest.AwaitJSON(t, seen, "second with the peak", func(l tailLine) bool {
		return l.Type == "tail.telemetry" && l.Payload.Device == "bench-1" && len(l.Payload.Max) == 3 && l.Payload.Max[0] > 20_000
	})
	for _, line := range seen.All() {
		var l tailLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Payload.Gaps+l.Payload.Lost > 0 {
			t.Errorf("samples are missing: %s", line)
		}
	}
}

func TestSendSaysWhatWentWrong(t *testing.T) {
	url := startGateway(t)
	silent, err := client.DialDevice(context.Background(), client.Config{URL: url}, client.DeviceConfig{ID: "silent",
		OnCommand: func(ctx context.Context, _ protocol.Message) (any, error) {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond) // later than the gateway's timeout
			return nil, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tc := range []struct {
		want string
		code int
		args []string
	}{
		{"device_offline", 1, []string{"--url", url, "nobody", "do.it"}},
		{"(timeout)", 1, []string{"--url", url, "--timeout", "50ms", "silent", "do.it"}},
		{"is not JSON", 1, []string{"--url", url, "silent", "do.it", "{"}},
		{"out of range", 1, []string{"--url", url, "--timeout", "0s", "silent", "do.it"}},
		{"is not a name", 1, []string{"--url", url, "no name", "do.it"}},
		{`field "type"`, 1, []string{"--url", url, "silent", "Do It"}},
		{"the scheme must be", 1, []string{"--url", "ftp://h", "silent", "do.it"}},
		{"connection refused", 1, []string{"--url", "ws://127.0.0.1:1", "silent", "do.it"}},
		{"--token-file", 1, []string{"--url", url, "--token-file", "/does/not/exist", "silent", "do.it"}},
		{"expected", 2, []string{"--url", url}},
	} {
		code, stdout, stderr := send(tc.args...)
		if code != tc.code || !strings.Contains(stderr, tc.want) || stdout != "" && tc.code == 1 {
			t.Errorf("send %v: exit code %d, output %q, error %q; want %d and %q", tc.args, code, stdout, stderr, tc.code, tc.want)
		}
	}
}

// Two simulators with one device id must not replace each other for ever: the
// older one ends with an error.
func TestAReplacedSimulatorEnds(t *testing.T) {
	url := startGateway(t)
	args := []string{"simulate", "--url", url, "--device", "only", "--rate", "100", "--samples-per-frame", "1"}
	seen, _, _ := start(t, "tail", "--json", "--url", url)
	gatewaytest.AwaitJSON(t, seen, "welcome", func(l tailLine) bool { return l.Type == protocol.TypeWelcome })
	_, stderr, code := start(t, args...)
	gatewaytest.AwaitJSON(t, seen, "first tester", func(l tailLine) bool { return l.Src == "only" })
	start(t, args...)
	select {
	case got := <-code:
		if text := strings.Join(stderr.All(), "\n"); got != 1 || !strings.Contains(text, "only: client: gateway closed the connection: 4000 replaced") {
			t.Errorf("exit code %d, error %s", got, text)
		}
	case <-time.After(time.Minute):
		t.Error("the replaced simulator goes on")
	}
}

func TestSimulateChecksItsOptions(t *testing.T) {
	url := startGateway(t)
	for want, args := range map[string][]string{
		"--devices 0":       {"--devices", "0"},
		"--devices 1001":    {"--devices", "1001"},
		"rate is 0":         {"--rate", "0"},
		"rate is -1":        {"--rate=-1"},
		"between samples":   {"--rate", "0.1"},
		"samples per frame": {"--samples-per-frame", "0"},
		"fewer samples":     {"--samples-per-frame", "65535", "--device", "x"},
		"is not a name":     {"--device", "no name"},
	} {
		if want == "fewer samples" {
			url = startGateway(t, "--max-message", "65536")
		}
		var stderr bytes.Buffer
		code := run(context.Background(), func() {}, append([]string{"simulate", "--url", url}, args...), &bytes.Buffer{}, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("simulate %v: exit code %d, %s; want %q", args, code, stderr.String(), want)
		}
	}
}

func TestTailCountsWhatIsMissing(t *testing.T) {
	var out gatewaytest.Lines
	w := &watch{out: &out, json: true, streams: map[uint32]*streamSummary{}}
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Stream: 7, Channels: 2, Count: 2}
	for _, seq := range []uint64{100, 102, 110} { // six are missing before the last
		h.Seq = seq
		w.telemetry(h, protocol.AppendI16(nil, int16(seq), -1, int16(seq)+1, -int16(seq)))
	}
	w.lost(protocol.Lost{Stream: 7, From: 104, To: 109}) // of which the gateway reported five
	url := startGateway(t)
	fe, err := client.DialFrontend(context.Background(), client.Config{URL: url}, client.FrontendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer fe.Close()
	w.summarise(fe)
	line := gatewaytest.AwaitJSON(t, &out, "summary", func(l struct {
		Type    string
		Payload telemetryLine
	}) bool {
		return l.Type == "tail.telemetry"
	}).Payload
	want := telemetryLine{Device: "stream 7", Stream: 7, Samples: 6, Frames: 3, Gaps: 6, Lost: 5,
		Last: []float64{111, -110}, Min: []float64{100, -110}, Max: []float64{111, -1}}
	if fmt.Sprint(line) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", line, want)
	}
	before := len(out.All())
	w.summarise(fe)
	if len(out.All()) != before {
		t.Error("a second without telemetry is printed")
	}
}
