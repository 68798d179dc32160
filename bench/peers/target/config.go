//go:build linux

package target

import (
	"embed"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What differs from a product's defaults, in words.
const (
	natsSettings       = "WebSocket listener without TLS and compression"
	centrifugeSettings = "MaxMessagesInFrame -1 (no limit), WriteDelay 0, UseWriteBufferPool; no history, presence or recovery"
	mosquittoSettings  = "WebSocket listener, set_tcp_nodelay true, max_queued_messages 0, persistence false, sys_interval 0, log_type error; QoS 0"
	melodySettings     = "WriteBufferPool; the default MessageBufferSize of 256: 8192 brought nothing"
)

// conf contains the configuration files. A run replaces @ADDR@, @PORT@ and
// @UNUSED@ by a loopback address, the measured port and another free port.
//
//go:embed conf
var conf embed.FS

func natsArgs(addr netip.AddrPort, dir string) ([]string, error) {
	return configured(addr, dir, "nats.conf", "-c")
}

func mosquittoArgs(addr netip.AddrPort, dir string) ([]string, error) {
	return configured(addr, dir, "mosquitto.conf", "-c")
}

// configured writes a configuration file and returns the arguments that name
// it. All users may read the file: the MQTT broker drops root's rights before
// it reads the file.
func configured(addr netip.AddrPort, dir, name, flag string) ([]string, error) {
	text, err := conf.ReadFile("conf/" + name)
	if err != nil {
		return nil, err
	}
	unused, err := freePort()
	if err != nil {
		return nil, err
	}
	port := func(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
	r := strings.NewReplacer("@ADDR@", addr.Addr().String(), "@PORT@", port(addr), "@UNUSED@", port(unused))
	path := filepath.Join(dir, name)
	return []string{flag, path}, os.WriteFile(path, []byte(r.Replace(string(text))), 0o644)
}

func labgateArgs(addr netip.AddrPort, _ string) ([]string, error) {
	return []string{"serve", "--listen", addr.String(), "--admin-listen", "127.0.0.1:0", "--max-message-rate", "0", "--log-level", "warn"}, nil
}

// centrifugeArgs removes the limit of messages in a frame, which raises the
// fan-out rate by two thirds and costs nothing at a light load. A WriteDelay of
// 1 ms did not raise the rate, and cost a millisecond of latency; a WriteDelay
// of 5 ms raised the rate by a tenth, and cost 5 ms.
func centrifugeArgs(addr netip.AddrPort, _ string) ([]string, error) {
	return []string{"-listen", addr.String(), "-max-messages-in-frame", "-1"}, nil
}

func melodyArgs(addr netip.AddrPort, _ string) ([]string, error) {
	return []string{"-listen", addr.String()}, nil
}

// limitArgs are those of a program of bench/limit.
func limitArgs(command string) func(netip.AddrPort, string) ([]string, error) {
	return func(addr netip.AddrPort, _ string) ([]string, error) {
		return []string{command, "-listen", addr.String()}, nil
	}
}
