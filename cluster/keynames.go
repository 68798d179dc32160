package cluster

import (
	"fmt"
	"strings"

	"github.com/labgate/labgate/router/federation"
)

// keyNames are the names of keys and channels. Redis keeps keys and channels
// apart, so a node's key and its channel have the same name.
type keyNames struct {
	all       string
	ingress   string
	node      string // + eight hexadecimal digits: a key and a channel
	device    string // + device id: a key
	telemetry string // + device id: a channel
}

func newKeyNames(prefix string) keyNames {
	return keyNames{
		all: prefix + ":all", ingress: prefix + ":ingress",
		node: prefix + ":node:", device: prefix + ":device:", telemetry: prefix + ":telemetry:",
	}
}

func (n *keyNames) ofNode(id federation.NodeID) string { return n.node + nodeHex(id) }

// telemetryDevice returns the device whose telemetry a channel carries.
func (n *keyNames) telemetryDevice(channel string) (string, bool) {
	return strings.CutPrefix(channel, n.telemetry)
}

func nodeHex(id federation.NodeID) string { return fmt.Sprintf("%08x", uint32(id)) }
