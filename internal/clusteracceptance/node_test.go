package clusteracceptance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// The nodes' time to live and timeout in these tests are short, but long
// enough for a busy machine.
const (
	ttl     = 4 * time.Second
	timeout = 1500 * time.Millisecond
)

// node is a running labgate serve with a name.
type node struct {
	*gatewaytest.Gateway
	name string
}

// startNode runs a node and waits until it listens. The node may not know the
// others yet.
func startNode(t *testing.T, name, redisURL string, args ...string) *node {
	t.Helper()
	return &node{name: name, Gateway: gatewaytest.StartGateway(t, append([]string{"--node", name,
		"--redis", redisURL, "--redis-ttl", ttl.String(), "--redis-timeout", timeout.String(), "--drain-timeout", "10s"}, args...)...)}
}

// startNodes runs nodes with these names on one Redis and waits until each
// knows all others.
func startNodes(t *testing.T, redisURL string, names ...string) []*node {
	t.Helper()
	all := make([]*node, len(names))
	for i, name := range names {
		all[i] = startNode(t, name, redisURL)
	}
	awaitJoined(t, all...)
	return all
}

// awaitJoined waits until each node knows all others.
func awaitJoined(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		gatewaytest.Eventually(t, "node "+n.name+" knows the others", func() bool {
			return n.ready() && n.Metric("labgate_bus_nodes") == float64(len(nodes)-1)
		})
	}
}

// ready returns the answer of /readyz.
func (n *node) ready() bool {
	status, _ := n.Ask("/readyz")
	return status == http.StatusOK
}

// api makes requests to the public listeners.
var api = &http.Client{Timeout: gatewaytest.Patience}

// answer has the fields of the HTTP API's answers that these tests read.
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

// call makes a request to a node's HTTP API. Status 0 means no answer.
func (n *node) call(method, path, body string) (a answer) {
	req, err := http.NewRequest(method, "http://"+n.Addr+path, bytes.NewBufferString(body))
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

// holders returns the node that holds each device, according to a node's HTTP
// API.
func (n *node) holders() map[string]string {
	all := map[string]string{}
	for _, d := range n.call("GET", "/v1/devices", "").Devices {
		all[d.DeviceID] = d.Node
	}
	return all
}
