// Package bustest is the conformance suite of federation.Bus: what several nodes
// promise together, shown with real routers and sessions on any Bus.
package bustest

import (
	"github.com/labgate/labgate/router/federation"
	"testing"
	"time"
)

// Net is what joins the nodes of one test. It ends with the test.
type Net interface {
	// Bus returns the bus for one more node of that name.
	Bus(name string) federation.Bus
	// SetReachable cuts all nodes off from each other, or joins them again. It
	// returns when that has happened, not when the nodes have noticed.
	SetReachable(reachable bool)
}

// patience is how long something may take that happens at once.
const patience = 30 * time.Second

// Run runs the suite; setup makes the net of each test.
func Run(t *testing.T, setup func(t *testing.T) Net) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"notices and listings", testPresence},
		{"command and answer", testCommand},
		{"commands with one id", testSameID},
		{"commands that fail", testCommandFails},
		{"HTTP API", testAPI},
		{"users", testUsers},
		{"sessions", testSessions},
		{"broadcast", testBroadcast},
		{"a device moves", testMove},
		{"a device moves often", testMovesOften},
		{"a node leaves", testLeave},
		{"telemetry", testTelemetry},
		{"telemetry that nobody wants", testUnwanted},
		{"telemetry of a device with gaps", testGaps},
		{"order and size", testOrder},
		{"cut off", testCutOff},
		{"what changed meanwhile", testMeanwhile},
		{"telemetry over an outage", testLossAccounted},
		{"commands at most once", testAtMostOnce},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, &world{t: t, net: setup(t)})
		})
	}
}
