package cluster

import (
	"fmt"
	"github.com/labgate/labgate/router/federation"
	"strings"
)

// names are those of keys and channels. Keys and channels are apart in Redis, so
// a node's key and its channel may have one name.
type names struct {
	all       string
	ingress   string
	node      string // + eight hexadecimal digits: a key, and a channel
	device    string // + device id: a key
	telemetry string // + device id: a channel
}

func newNames(prefix string) names {
	return names{
		all: prefix + ":all", ingress: prefix + ":ingress",
		node: prefix + ":node:", device: prefix + ":device:", telemetry: prefix + ":telemetry:",
	}
}

func (n *names) ofNode(id federation.NodeID) string { return n.node + nodeHex(id) }

// telemetryDevice returns whose telemetry a channel carries.
func (n *names) telemetryDevice(channel string) (string, bool) {
	return strings.CutPrefix(channel, n.telemetry)
}

func nodeHex(id federation.NodeID) string { return fmt.Sprintf("%08x", uint32(id)) }
