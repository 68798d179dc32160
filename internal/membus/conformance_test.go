package membus_test

import (
	"testing"

	"github.com/labgate/labgate/internal/bustest"
	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/router/federation"
)

type hubNet struct{ *membus.Hub }

func (h hubNet) Bus(name string) federation.Bus { return h.Hub.Bus(name) }

// TestHub runs the conformance suite of a Bus with HubBus.
func TestHub(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Net { return hubNet{membus.NewHub()} })
}
