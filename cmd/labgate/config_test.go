package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configured writes a configuration file.
func configured(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "labgate.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigErrorsNameFileLineAndKey: the message of each error in the file
// says where the error is.
func TestConfigErrorsNameFileLineAndKey(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"nothing", "", ":1: the file ends too early"},
		{"half", "{\n\"listen\"", `:2: at or after key "listen": the file ends too early`},
		{"no value", "{\n\"listen\": }", `:2: at or after key "listen": invalid character '}'`},
		{"comma at the end", "{\n\"node\": \"x\",\n}", `:3: at or after key "node": invalid character '}'`},
		{"no comma", "{\n\"node\": \"x\"\n\"listen\": \"y\"}", `:3: at or after key "node": invalid character '"'`},
		{"no object", "[1]", ":1: the file must be one JSON object"},
		{"something behind", "{}\n\nx", ":3: something follows the object"},
		{"null", "{\"node\": null}", `:1: key "node": the value must be`},
		{"whole number", "{\n\n\"max_message\": \"x\"}", `:3: key "max_message": --max-message "x" is not a whole number`},
		{"range", "{\n\"max_message\": 500}", `:2: key "max_message": --max-message 500 is out of range; use 1024 to 67108864`},
		{"duration", "{\n\"idle_timeout\": 5}", `:2: key "idle_timeout": --idle-timeout "5" is not a duration`},
		{"word", "{\"io-mode\": \"fast\"}", `:1: key "io-mode": --io-mode "fast" is unknown; use nonblocking, blocking or mixed`},
		{"list of a single value", "{\"listen\": [\"127.0.0.1:80\", \"127.0.0.2:80\"]}", `:1: key "listen": one value belongs here, not a list`},
		{"list of numbers", "{\"trusted_proxies\": [5]}", `:1: key "trusted_proxies": the list must hold strings`},
		{"twice", "{\"node\": \"a\",\n\"node\": \"b\"}", `:2: key "node" sets --node again, which key "node" in line 1 has set; remove one`},
		{"two spellings", "{\"max_message\": 2048,\n\n\"max-message\": 4096}", `:3: key "max-message" sets --max-message again, which key "max_message" in line 1 has set`},
		{"misspelt", "{\n\"max_mesage\": 2048}", `:2: key "max_mesage" is not an option; did you mean "max-message"?`},
		{"no option", "{\"colour\": \"red\"}", `:1: key "colour" is not an option; labgate help serve lists the options`},
		{"itself", "{\"config\": \"x\"}", `:1: key "config" is not an option`},
		{"UTF-16", "\xff\xfe{\x00}\x00", ": is text in UTF-16 or UTF-32; save the file as UTF-8"},
		{"UTF-16, big end first", "\xfe\xff\x00{\x00}", ": is text in UTF-16 or UTF-32; save the file as UTF-8"},
		{"UTF-16 without a mark", "{\x00}\x00", ": is text in UTF-16 or UTF-32; save the file as UTF-8"},
		{"large", "{" + strings.Repeat(" ", maxConfig) + "}", ": larger than 1048576 bytes"},
	} {
		file := configured(t, c.content)
		code, out, stderr := labgate(t, "serve", "--check-config", "--config", file)
		if code == 0 || !strings.Contains(stderr, file+c.says) {
			t.Errorf("%s: exit code %d, %s%s, want %q", c.name, code, out, stderr, file+c.says)
		}
	}
	if code, _, stderr := checkConfig(t, "--config", "/no/such/file.json"); code != exitUsage || !strings.Contains(stderr, "--config: open /no/such/file.json") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestConfigValues: every form of value reaches its option.
func TestConfigValues(t *testing.T) {
	file := configured(t, "\xef\xbb\xbf"+`{
		"node": "bench-7", "max_message": 4096, "pollers": "2", "max-message-rate": 0.5, "device_message_rate": 0,
		"idle_timeout": "0", "insecure": true, "debug-echo": "true", "duplicate_device": "refuse",
		"allowed_origins": ["https://a.example", "https://b.example"], "trusted-proxies": "10.0.0.0/8,192.0.2.1",
		"redis_ttl": "20s", "log_level": "warn", "devices": 3
	}`)
	line, err := parse([]string{"--config", file, "serve"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := line.command.(*ServeCmd)
	o := c.Server
	for name, ok := range map[string]bool{
		"node": o.Node == "bench-7", "max_message": o.MaxMessage == 4096, "pollers": o.Pollers == 2,
		"max-message-rate": o.MaxMessageRate == 0.5, "device_message_rate": o.DeviceMessageRate != nil && *o.DeviceMessageRate == 0,
		"frontend_message_rate": o.FrontendMessageRate == nil, "idle_timeout": o.IdleTimeout == 0,
		"insecure": o.Insecure, "debug-echo": o.DebugEcho, "duplicate_device": o.RefuseDuplicate,
		"allowed_origins": strings.Join(o.AllowedOrigins, " ") == "https://a.example https://b.example",
		"trusted-proxies": strings.Join(o.TrustedProxies, " ") == "10.0.0.0/8 192.0.2.1",
		"redis_ttl":       c.Redis.TTL.Seconds() == 20, "log_level": line.global.LogLevel == "warn",
		"flush-interval, which is not given": o.FlushInterval.Milliseconds() == 1,
	} {
		if !ok {
			t.Errorf("%s has not arrived: %+v %+v", name, o, c.Redis)
		}
	}
	if device, frontend := o.Rates(); device.Messages != 0 || frontend.Messages != 0.5 {
		t.Errorf("rates %v and %v", device, frontend)
	}
	line, err = parse([]string{"--config", file, "simulate"}, nil)
	if err != nil || line.command.(*SimulateCmd).Devices != 3 {
		t.Errorf("the same file for simulate: %v", err)
	}
}
