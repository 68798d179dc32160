package main

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/option"
)

// TestMisspeltVariablesAreRefused: for every command with options, an error
// names the variable.
func TestMisspeltVariablesAreRefused(t *testing.T) {
	for _, c := range []struct{ variable, says string }{
		{"LABGATE_LISTN=:80", "LABGATE_LISTN belongs to no option; did you mean LABGATE_LISTEN?"},
		{"LABGATE_MAX_MESSSAGE=1", "did you mean LABGATE_MAX_MESSAGE?"},
		{"LABGATE_TLSCERT=x", "did you mean LABGATE_TLS_CERT?"},
		{"LABGATE_DEVICES=3", "did you mean LABGATE_BENCH_DEVICES or LABGATE_SIMULATE_DEVICES or LABGATE_TOKEN_DEVICES?"},
		{"LABGATE_TIMEOUT=3s", "did you mean LABGATE_BENCH_TIMEOUT or LABGATE_SEND_TIMEOUT?"},
		{"LABGATE_COLOUR=red", "LABGATE_COLOUR belongs to no option; remove it"},
		{"LABGATE_CONFIG=x", "LABGATE_CONFIG belongs to no option"},
		{"LABGATE_PORT=80", "LABGATE_PORT belongs to no option"},
	} {
		for _, args := range [][]string{{"serve"}, {"simulate"}, {"send", "a", "b"}, {"tail"}, {"bench", "idle"}, {"token", "--role=device"}} {
			if _, err := parse(args, []string{"PATH=/bin", c.variable}); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %v: %v, want %q", c.variable, args, err, c.says)
			}
		}
		for _, args := range [][]string{{"help"}, {"version"}, {"--version"}, {"help", "serve"}, {"serve", "--help"}} {
			if _, err := parse(args, []string{c.variable}); err != nil {
				t.Errorf("%s %v: %v", c.variable, args, err)
			}
		}
	}
}

// TestForeignVariablesStay: variables of other programs cause no error.
func TestForeignVariablesStay(t *testing.T) {
	environment := []string{
		"PORTS=1 2 3", "LISTEN=x", "labgate_listen=x", "LABGATE=x", "LABGATE_TEST_DESCRIPTORS=blocking", "LABGATE_COLOUR=",
		// What Kubernetes adds for services named labgate and labgate-redis.
		"LABGATE_SERVICE_HOST=10.0.0.1", "LABGATE_SERVICE_PORT=8080", "LABGATE_SERVICE_PORT_HTTP=8080", "LABGATE_PORT=tcp://10.0.0.1:8080",
		"LABGATE_PORT_8080_TCP=tcp://10.0.0.1:8080", "LABGATE_PORT_8080_TCP_PROTO=tcp", "LABGATE_PORT_8080_TCP_PORT=8080", "LABGATE_PORT_8080_TCP_ADDR=10.0.0.1",
		"LABGATE_REDIS_SERVICE_HOST=10.0.0.2", "LABGATE_REDIS_PORT=tcp://10.0.0.2:6379", "LABGATE_REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
	}
	if _, err := parse([]string{"serve"}, environment); err != nil {
		t.Error(err)
	}
}

// TestVariablesOfEachCommand: each variable belongs to one option.
func TestVariablesOfEachCommand(t *testing.T) {
	environment := []string{"LABGATE_SIMULATE_DEVICES=4", "LABGATE_BENCH_DEVICES=5", "LABGATE_TOKEN_DEVICES=tensile-*,press-1",
		"LABGATE_SEND_TIMEOUT=7s", "LABGATE_BENCH_TIMEOUT=8s", "LABGATE_LOG_LEVEL=error", "LABGATE_LISTEN=127.0.0.1:9"}
	run := func(args ...string) *commandLine {
		t.Helper()
		line, err := parse(args, environment)
		if err != nil {
			t.Fatal(err)
		}
		if line.global.LogLevel != "error" {
			t.Errorf("%v: log level %s", args, line.global.LogLevel)
		}
		return line
	}
	if c := run("simulate").command.(*SimulateCmd); c.Devices != 4 {
		t.Errorf("simulate: %d devices", c.Devices)
	}
	if c := run("bench", "idle").command.(*BenchCmd); c.Load.Devices != 5 || c.Load.Timeout.Seconds() != 8 {
		t.Errorf("bench: %+v", c.Load)
	}
	if c := run("token", "--role", "frontend").command.(*TokenCmd); strings.Join(c.Devices, " ") != "tensile-* press-1" {
		t.Errorf("token: %v", c.Devices)
	}
	if c := run("send", "a", "b").command.(*SendCmd); c.Timeout.Seconds() != 7 || c.Device != "a" {
		t.Errorf("send: %+v", c)
	}
	if c := run("serve").command.(*ServeCmd); c.Server.Listen != "127.0.0.1:9" {
		t.Errorf("serve: %s", c.Server.Listen)
	}
}

// TestEmptyVariablesMeanUnset, for every option of every command.
func TestEmptyVariablesMeanUnset(t *testing.T) {
	file := configured(t, `{"node": "from-the-file"}`)
	for _, spec := range commands() {
		args := map[string][]string{"send": {"send", "a", "b"}, "bench": {"bench", "idle"}, "token": {"token", "--role", "device"}}[spec.name]
		if args == nil {
			args = []string{spec.name}
		}
		args = append([]string{"--config", file}, args...)
		var empty []string
		for _, o := range option.Of(spec.new(), &globalOptions{}) {
			if v := variable(spec, o); v != "" {
				empty = append(empty, v+"=")
			}
		}
		without, err := parse(args, nil)
		if err != nil {
			t.Fatal(err)
		}
		with, err := parse(args, append(empty, "LABGATE_LOG_LEVEL="))
		if err != nil {
			t.Errorf("%s: %v", spec.name, err)
			continue
		}
		a, b := option.Of(without.command, &without.global), option.Of(with.command, &with.global)
		for i := range a {
			if a[i].Text() != b[i].Text() {
				t.Errorf("%s %s: %q with an empty variable, %q without", spec.name, a[i].Flag(), b[i].Text(), a[i].Text())
			}
		}
		if c, ok := with.command.(*ServeCmd); ok && c.Server.Node != "from-the-file" {
			t.Errorf("an empty variable wins over the file: %q", c.Server.Node)
		}
	}
}
