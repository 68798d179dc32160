package redistest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// Cluster is a Redis Cluster of three masters without replicas.
type Cluster struct {
	tb    testing.TB
	Nodes []*Server
}

// slots is how many hash slots a Redis Cluster has.
const slots = 16384

// StartCluster runs a Redis Cluster, and waits until each node serves it.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	const nodes = 3
	c := &Cluster{tb: tb}
	for i := range nodes {
		n := prepare(tb)
		n.config = append(n.config, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000",
			fmt.Sprint("cluster-port ", n.busPort))
		n.start()
		n.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/nodes), strconv.Itoa((i+1)*slots/nodes-1))
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes[1:] {
		first := c.Nodes[0]
		n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(first.port), strconv.Itoa(first.busPort))
	}
	for _, n := range c.Nodes {
		eventually(tb, "a node serves the cluster", func() bool {
			info := fmt.Sprint(n.Do("CLUSTER", "INFO"))
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", nodes))
		})
	}
	return c
}

// URL returns what a client connects with.
func (c *Cluster) URL() string {
	q := url.Values{}
	for _, n := range c.Nodes[1:] {
		q.Add("addr", n.Addr())
	}
	return "redis://" + c.Nodes[0].Addr() + "?" + q.Encode()
}
