package redistest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// Cluster is a Redis Cluster of three masters.
type Cluster struct {
	tb    testing.TB
	Nodes []*Server
	// Replicas has one replica of each of Nodes, or nothing.
	Replicas []*Server

	timeout time.Duration
}

const (
	// slots is how many hash slots a Redis Cluster has.
	slots   = 16384
	masters = 3
)

// StartCluster runs a Redis Cluster without replicas, and waits until each node
// serves it.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return startMasters(tb, 5*time.Second)
}

// startMasters starts the masters. timeout is the silence after which the
// other nodes consider a node failed.
func startMasters(tb testing.TB, timeout time.Duration) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, timeout: timeout}
	for i := range masters {
		n := c.start()
		n.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		c.Nodes = append(c.Nodes, n)
	}
	c.meet(c.Nodes)
	return c
}

// StartReplicatedCluster runs a Redis Cluster with a replica of each master,
// and waits until the replicas are in sync.
func StartReplicatedCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := startMasters(tb, 2*time.Second)
	for range masters {
		c.Replicas = append(c.Replicas, c.start())
	}
	c.meet(append(append([]*Server(nil), c.Nodes...), c.Replicas...))
	for i, r := range c.Replicas {
		id := fmt.Sprint(c.Nodes[i].Do("CLUSTER", "MYID"))
		gatewaytest.Eventually(tb, "a replica knows its master", func() bool {
			_, err := r.Try("CLUSTER", "REPLICATE", id)
			return err == nil
		})
	}
	for _, r := range c.Replicas {
		gatewaytest.Eventually(tb, "a replica is connected", func() bool {
			role, _ := r.Do("ROLE").([]any)
			return len(role) > 3 && role[0] == "slave" && role[3] == "connected"
		})
	}
	for _, n := range c.Nodes {
		gatewaytest.Eventually(tb, "the masters know the replicas", func() bool {
			return strings.Count(fmt.Sprint(n.Do("CLUSTER", "NODES")), " slave ")+strings.Count(fmt.Sprint(n.Do("CLUSTER", "NODES")), ",slave ") == masters
		})
	}
	return c
}

func (c *Cluster) start() *Server {
	n := prepare(c.tb)
	n.config = append(n.config, "cluster-enabled yes", "cluster-config-file nodes.conf", fmt.Sprint("cluster-node-timeout ", c.timeout.Milliseconds()),
		fmt.Sprint("cluster-port ", n.busPort))
	n.start()
	return n
}

// meet introduces nodes to each other and waits until all know each other.
func (c *Cluster) meet(nodes []*Server) {
	first := nodes[0]
	for i, n := range nodes[1:] {
		_, _ = n.Try("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+2)) // refused by those that have met others
		n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(first.port), strconv.Itoa(first.busPort))
	}
	for _, n := range nodes {
		gatewaytest.Eventually(c.tb, "a node serves the cluster", func() bool {
			info := fmt.Sprint(n.Do("CLUSTER", "INFO"))
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", len(nodes)))
		})
	}
}

// URL returns the URL for clients.
func (c *Cluster) URL() string {
	q := url.Values{}
	for _, n := range c.Nodes[1:] {
		q.Add("addr", n.Addr())
	}
	return "redis://" + c.Nodes[0].Addr() + "?" + q.Encode()
}
