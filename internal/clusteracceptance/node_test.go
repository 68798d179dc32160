package clusteracceptance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The nodes' time to live and timeout in these tests: short, and yet long for a
// machine with other work.
const (
	ttl     = 4 * time.Second
	timeout = 1500 * time.Millisecond
)

// node is a running labgate serve.
type node struct {
	*process
	name, addr, admin string
}

// startNode runs a node and waits until it listens; not until it has found the
// others.
func startNode(t *testing.T, name, redisURL string, args ...string) *node {
	t.Helper()
	argv := []string{labgate, "--log-json", "--log-level", "debug", "serve", "--node", name, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--redis", redisURL, "--redis-ttl", ttl.String(), "--redis-timeout", timeout.String(), "--drain-timeout", "10s"}
	n := &node{process: start(t, append(argv, args...)...), name: name}
	var ready struct{ Listen, Admin string }
	if line := n.stderr.await(t, `"message":"ready"`); json.Unmarshal([]byte(line), &ready) != nil {
		t.Fatalf("ready line %q", line)
	}
	n.addr, n.admin = ready.Listen, ready.Admin
	return n
}

// startNodes runs nodes of these names on one Redis and waits until each knows
// of all others.
func startNodes(t *testing.T, redisURL string, names ...string) []*node {
	t.Helper()
	all := make([]*node, len(names))
	for i, name := range names {
		all[i] = startNode(t, name, redisURL)
	}
	awaitJoined(t, all...)
	return all
}

// awaitJoined waits until each of the nodes knows of all others.
func awaitJoined(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "node "+n.name+" knows the others", func() bool {
			return n.ready() && n.metric(t, "labgate_bus_nodes") == float64(len(nodes)-1)
		})
	}
}

// ready reports what /readyz says.
func (n *node) ready() bool {
	status, _ := n.health("/readyz")
	return status == http.StatusOK
}

func (n *node) health(path string) (int, string) {
	res, err := admin.Get("http://" + n.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// admin asks the admin listeners; api the public ones.
var (
	admin = &http.Client{Timeout: patience}
	api   = &http.Client{Timeout: patience}
)

// metric returns the sum of a metric's values over its labels; parts are of the
// labels that count.
func (n *node) metric(t *testing.T, name string, parts ...string) float64 {
	t.Helper()
	status, body := n.health("/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics of node %s: %d %s", n.name, status, body)
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || series != name && !strings.HasPrefix(series, name+"{") || slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(series, p) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", name, err)
		}
		sum += v
	}
	return sum
}

// answer is what the HTTP API says, as far as these tests look at it.
type answer struct {
	status int
	text   string

	Error struct {
		Code, Message string
	}
	Devices []struct {
		DeviceID string `json:"device_id"`
		Node     string
		Session  string
		Stream   uint32
	}
	Sessions []struct {
		Session, Role, Name, Node string
	}
	SilentNodes []string `json:"silent_nodes"`
	Delivered   int
	Type, Src   string
	Node, Name  string
	Payload     json.RawMessage
}

// call makes a request to a node's HTTP API; status 0 stands for none.
func (n *node) call(method, path, body string) (a answer) {
	req, err := http.NewRequest(method, "http://"+n.addr+path, bytes.NewBufferString(body))
	if err != nil {
		return answer{text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := api.Do(req)
	if err != nil {
		return answer{text: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{text: err.Error()}
	}
	if len(text) > 0 && json.Unmarshal(text, &a) != nil {
		return answer{text: "not JSON: " + string(text)}
	}
	a.status, a.text = res.StatusCode, string(text)
	return a
}

// holders returns who, by a node's HTTP API, holds each device.
func (n *node) holders() map[string]string {
	all := map[string]string{}
	for _, d := range n.call("GET", "/v1/devices", "").Devices {
		all[d.DeviceID] = d.Node
	}
	return all
}
