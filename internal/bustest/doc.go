// Package bustest is the conformance suite for a federation.Bus. Its tests run
// real routers and sessions on several nodes, and check the promises of the
// gateway to users.
package bustest

import (
	"testing"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// Net connects the nodes of one test. It ends with the test.
type Net interface {
	// Bus returns the bus of a new node with that name.
	Bus(name string) federation.Bus
	// SetReachable disconnects all nodes from each other, or connects them
	// again. It does not wait until the nodes have noticed.
	SetReachable(reachable bool)
}

// patience bounds each wait of a test. Most take milliseconds.
const patience = 30 * time.Second

// Run runs the suite; setup makes the net of each test. Tests run in parallel,
// except those that disconnect the nodes, because nets may share one server.
func Run(t *testing.T, setup func(t *testing.T) Net) {
	t.Run("connected", func(t *testing.T) {
		for _, test := range []suiteTest{
			{"notices and listings", testPresence},
			{"command and answer", testCommand},
			{"commands with one id", testSameID},
			{"commands that fail", testCommandFails},
			{"HTTP API", testAPI},
			{"users", testUsers},
			{"sessions", testSessions},
			{"broadcast", testBroadcast},
			{"description", testDescription},
			{"a device moves", testMove},
			{"a device moves often", testMovesOften},
			{"a node leaves", testLeave},
			{"telemetry", testTelemetry},
			{"telemetry without interest", testUnwanted},
			{"telemetry of a device with gaps", testGaps},
			{"order and size", testOrder},
			{"commands at most once", testAtMostOnce},
		} {
			test.start(t, setup, true)
		}
	})
	for _, test := range []suiteTest{
		{"cut off", testCutOff},
		{"what changed meanwhile", testMeanwhile},
		{"a description meanwhile", testDescriptionMeanwhile},
		{"telemetry over an outage", testLossAccounted},
		{"telemetry of a device that came and left during an outage", testShortVisit},
		{"telemetry with gaps over an outage", testGapsOverAnOutage},
	} {
		test.start(t, setup, false)
	}
}

// suiteTest is a test of the suite.
type suiteTest struct {
	name string
	run  func(t *testing.T, w *world)
}

func (s suiteTest) start(t *testing.T, setup func(t *testing.T) Net, parallel bool) {
	t.Run(s.name, func(t *testing.T) {
		w := &world{t: t, net: setup(t)}
		if parallel {
			t.Parallel()
		}
		s.run(t, w)
	})
}
