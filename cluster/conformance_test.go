package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/bustest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// TestConformance runs the suite of all buses over this one. The tests of one
// Redis share it, each with a prefix of its own.
func TestConformance(t *testing.T) {
	for name, mode := range map[string]func(t *testing.T) wires{
		"plain": func(t *testing.T) wires {
			s := redistest.Start(t)
			return wires{url: s.URL(), cut: []func(){s.Kill}, mend: []func(){s.Restart}}
		},
		"Sentinel": func(t *testing.T) wires {
			s := redistest.StartSentinel(t)
			return wires{url: s.URL(), cut: []func(){s.Master.Stop, s.Replica.Stop}, mend: []func(){s.Replica.Continue, s.Master.Continue}}
		},
		"Redis Cluster": func(t *testing.T) wires { return clusterWires(t, false) },
		"sharded":       func(t *testing.T) wires { return clusterWires(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := mode(t)
			n := 0
			bustest.Run(t, func(t *testing.T) bustest.Net {
				n++
				own := w
				own.t, own.prefix = t, fmt.Sprint("lab", n)
				return &own
			})
		})
	}
}

func clusterWires(t *testing.T, sharded bool) wires {
	c := redistest.StartCluster(t)
	w := wires{url: c.URL(), sharded: sharded}
	for _, n := range c.Nodes {
		w.cut, w.mend = append(w.cut, n.Stop), append(w.mend, n.Continue)
	}
	return w
}

// wires join nodes through one Redis, which can be reached or not.
type wires struct {
	t         *testing.T
	url       string
	cut, mend []func()
	prefix    string
	sharded   bool
}

func (n *wires) Bus(name string) federation.Bus {
	o := Options{URL: n.url, Name: name, Prefix: n.prefix, Sharded: n.sharded, TTL: 8 * time.Second, Timeout: 2 * time.Second, Logger: zerolog.New(zerolog.NewTestWriter(n.t))}
	b, err := New(o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(b.Leave)
	return b
}

func (n *wires) SetReachable(reachable bool) {
	change := n.cut
	if reachable {
		change = n.mend
	}
	for _, f := range change {
		f()
	}
}
