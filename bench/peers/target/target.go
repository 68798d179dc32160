//go:build linux

// Package target starts the products of the comparison: the command of each
// product, its configuration, and the reasons for its settings. The reasons are
// also in the README of bench/peers, and the settings in every result.
package target

import (
	"net/netip"
	"slices"

	"github.com/labgate/labgate/bench/peers/wire"
)

// Kind is the role of a target in the comparison.
type Kind string

// The kinds.
const (
	Product   Kind = "product"   // labgate
	Peer      Kind = "peer"      // a product that a lab would install instead
	Reference Kind = "reference" // nbio without a gateway around it
)

// Target is a product or a reference that is measured.
type Target struct {
	Name     string
	Kind     Kind
	Protocol wire.Protocol
	Shapes   []wire.Shape // the shapes in which the target takes part
	// Settings describes how the configuration differs from the product's
	// defaults, for the result.
	Settings string
	// Work says how the product's work for a message differs from that of the
	// others; the result shows it beside the figures.
	Work string
	// Binary is the file name of the program, in the directory with what
	// scripts/bench-peers has built; or, with System, a program of the machine.
	Binary string
	System bool
	// Module is the one whose version is the product's; "": the program says it
	// itself, when it is called with VersionArg.
	Module, VersionArg string
	// args are those of the program that is to listen at addr; a configuration
	// file goes to dir.
	args func(addr netip.AddrPort, dir string) ([]string, error)
}

var everything = []wire.Shape{wire.FanOut, wire.Unicast, wire.Idle}

const mqttBroker = "mosquitto" //nolint:misspell // not the insect

// All lists the targets in the order of the report.
func All() []*Target {
	return []*Target{
		{
			Name: "labgate", Kind: Product, Protocol: wire.Labgate{}, Shapes: everything, Binary: "labgate", VersionArg: "version",
			Settings: "--max-message-rate 0", args: labgateArgs,
			Work: "checks each envelope and writes its sender into it (src); checks telemetry and writes the stream into it; keeps account of samples lost; telemetry may wait 1 ms for more",
		},
		{
			Name: "nats", Kind: Peer, Protocol: wire.NATS{}, Shapes: everything, Binary: "nats-server", Module: "github.com/nats-io/nats-server/v2",
			Settings: natsSettings, args: natsArgs,
			Work: "matches subjects; a text line before each message; what waits for a connection leaves in one frame",
		},
		{
			Name: "centrifuge-protobuf", Kind: Peer, Protocol: wire.CentrifugeProtobuf{}, Shapes: everything, Binary: "centrifuge", Module: "github.com/centrifugal/centrifuge",
			Settings: centrifugeSettings, args: centrifugeArgs,
			Work: "answers each publication, as its protocol wants: two messages out for one unicast; what waits for a connection leaves in one frame",
		},
		{
			Name: "centrifuge-json", Kind: Peer, Protocol: wire.CentrifugeJSON{}, Shapes: everything, Binary: "centrifuge", Module: "github.com/centrifugal/centrifuge",
			Settings: centrifugeSettings, args: centrifugeArgs,
			Work: "the same, and writes JSON; its fan-out carries JSON text of the same size",
		},
		{
			Name: mqttBroker, Kind: Peer, Protocol: wire.MQTT{}, Shapes: everything, Binary: mqttBroker, System: true, VersionArg: "-h",
			Settings: mosquittoSettings, args: mosquittoArgs,
			Work: "matches topics; a frame and a write for each message: its WebSocket library does not join them",
		},
		{
			Name: "melody", Kind: Peer, Protocol: wire.Hub{}, Shapes: everything, Binary: "melody", Module: "github.com/olahol/melody",
			Settings: melodySettings, args: melodyArgs,
			Work: "nothing but framing; a frame and a write for each message",
		},
		{
			Name: "nbio relay", Kind: Reference, Protocol: wire.Relay{}, Shapes: []wire.Shape{wire.Unicast}, Binary: "limit", Module: "github.com/lesismal/nbio",
			Settings: "bench/limit relay", args: limitArgs("relay"),
			Work: "nothing but framing; a frame and a write for each message",
		},
		{
			Name: "nbio idle", Kind: Reference, Protocol: wire.Relay{}, Shapes: []wire.Shape{wire.Idle}, Binary: "limit", Module: "github.com/lesismal/nbio",
			Settings: "bench/limit idle", args: limitArgs("idle"),
			Work: "nothing",
		},
	}
}

// Takes reports whether the target takes part in a shape.
func (t *Target) Takes(s wire.Shape) bool {
	return slices.Contains(t.Shapes, s)
}
