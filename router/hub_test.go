package router_test

import (
	"testing"

	"github.com/labgate/labgate/internal/bustest"
	"github.com/labgate/labgate/router"
)

type hubNet struct{ *router.Hub }

func (h hubNet) Bus(name string) router.Bus { return h.Hub.Bus(name) }

// TestHub runs the conformance suite of a Bus over the one in a process.
func TestHub(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Net { return hubNet{router.NewHub()} })
}
