package server

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ListenOptions say where the gateway listens, what it is called, and how long
// and how large what arrives there may be.
type ListenOptions struct {
	// Listen and AdminListen are host:port; port 0 picks a free one.
	Listen      string `option:"listen" default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"net" help:"Address for devices, front ends, the HTTP API and the page. Port 0 picks a free one."`
	AdminListen string `option:"admin-listen" default:"127.0.0.1:8081" placeholder:"HOST:PORT" group:"net" help:"Address for /metrics, /healthz, /readyz and /debug/pprof. On an address beyond loopback, --admin-token-file is required."`
	// Node is this gateway's name; "local" if empty. Nodes on one bus have
	// different ones.
	Node string `option:"node" unset:"the host name" placeholder:"NAME" group:"net" help:"This gateway's name in messages and metrics. With --redis each node needs a different name."`

	// MaxMessage is the largest message in bytes; 1 MiB, and for /ws/echo
	// 16 MiB, if 0.
	MaxMessage int `option:"max-message" unset:"1048576 (1 MiB); 16777216 (16 MiB) on /ws/echo" min:"1024" max:"67108864" placeholder:"BYTES" group:"net" help:"Largest message that the gateway accepts. A larger message closes its session with 1009."`
	// MaxPending bounds a front end's commands that wait.
	MaxPending int `option:"max-pending" default:"256" min:"1" max:"65536" group:"net" help:"Commands of one front end that may wait for an answer; more are refused with the error overloaded."`
	// DeviceMetrics bounds the devices that have metrics of their own.
	DeviceMetrics int `option:"device-metrics" default:"500" min:"0" max:"10000" zero:"no device" group:"net" help:"Greatest number of devices with metrics of their own, such as labgate_device_online, on the admin listener. labgate_device_metrics_omitted counts the others."`

	// Descriptions is a directory of descriptions of devices; "" for none.
	Descriptions string `option:"descriptions" type:"path" placeholder:"DIR" group:"net" help:"Directory of descriptions of devices that do not describe themselves: ID.json for the device of that id, TYPE.json for devices of that type. docs/description.md says what a description holds. Changed files are read again."`

	// HandshakeTimeout is the time from accept to the finished handshake.
	HandshakeTimeout time.Duration `option:"handshake-timeout" default:"10s" min:"100ms" max:"5m" group:"net" help:"Longest time from a connection to the end of its WebSocket handshake, and for each HTTP request to arrive. Then the connection is closed."`
	// WriteTimeout bounds a blocking connection's write.
	WriteTimeout time.Duration `option:"write-timeout" default:"10s" min:"100ms" max:"5m" group:"live" help:"Longest time for one write to a blocking connection (--io-mode blocking or mixed, --tls-mode blocking). Then the connection is closed."`
	// RetryAfter is what clients are told to wait when the gateway leaves.
	RetryAfter time.Duration `option:"retry-after" default:"1s" min:"1ms" max:"1h" group:"net" help:"How long clients are told to wait before they connect again: in gateway.closing when the gateway shuts down, and in Retry-After when it refuses them for now."`

	// DebugEcho adds /ws/echo, which answers each message with itself; for
	// tests of the connection layer.
	DebugEcho bool `option:"debug-echo" group:"net" help:"For tests of the connection layer only: adds /ws/echo, which sends each text or binary message back, up to --max-message each."`

	// maxEcho is the largest message of /ws/echo.
	maxEcho int
}

// defaultMaxMessage is MaxMessage for an option that is not given, in bytes.
const defaultMaxMessage = 1 << 20

// prepareListen fills in what no declaration can say and checks the addresses.
func (o *ListenOptions) prepareListen() error {
	setDefault(&o.Node, "local")
	setDefault(&o.maxEcho, o.MaxMessage)
	setDefault(&o.maxEcho, defaultMaxEcho)
	setDefault(&o.MaxMessage, defaultMaxMessage)
	if err := checkNode(o.Node); err != nil {
		return err
	}
	if err := checkAddress("--listen", o.Listen); err != nil {
		return err
	}
	return checkAddress("--admin-listen", o.AdminListen)
}

// maxNodeLen bounds a node's name, in bytes.
const maxNodeLen = 128

// checkNode refuses a name that would damage a terminal or a log.
func checkNode(name string) error {
	if len(name) > maxNodeLen || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("--node %q: use at most %d bytes of UTF-8 without control characters", name, maxNodeLen)
	}
	return nil
}

// checkAddress refuses what cannot be listened on, whatever the machine. A port
// may also be the name of a service.
func checkAddress(option, address string) error {
	if strings.Contains(address, ",") {
		return fmt.Errorf("%s %q is a list; use one address, for example 127.0.0.1:8080", option, address)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s %q is not an address; use host:port, for example 127.0.0.1:8080", option, address)
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > 65535) || port == "" {
		return fmt.Errorf("%s %q: %q is not a port; use 0 to 65535, for example 127.0.0.1:8080", option, address, port)
	}
	return nil
}
