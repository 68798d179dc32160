package redistest

import (
	"fmt"
	"net/url"
	"strconv"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// Sentinel is a master with a replica, watched by three sentinels.
type Sentinel struct {
	tb        testing.TB
	Master    *Server
	Replica   *Server
	Sentinels []*Server
}

// MasterSet is the name under which the sentinels know the master.
const MasterSet = "lab"

// StartSentinel runs a master, a replica and three sentinels, and waits until
// the sentinels know each other and the replica is in sync. The sentinels
// consider a master down after one second without an answer.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{tb: tb, Master: Start(tb)}
	s.Replica = Start(tb, WithConfig(fmt.Sprint("replicaof 127.0.0.1 ", s.Master.port), "repl-ping-replica-period 1"))
	for range 3 {
		n := prepare(tb, WithConfig(
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", MasterSet, s.Master.port),
			"sentinel down-after-milliseconds "+MasterSet+" 1000",
			"sentinel failover-timeout "+MasterSet+" 5000"))
		n.sentinel = true
		n.start()
		s.Sentinels = append(s.Sentinels, n)
	}
	for _, n := range s.Sentinels {
		gatewaytest.Eventually(tb, "a sentinel knows the others and the replica", func() bool {
			info, _ := n.Do("SENTINEL", "master", MasterSet).([]any)
			m := fields(info)
			return m["num-other-sentinels"] == "2" && m["num-slaves"] == "1" && m["flags"] == "master"
		})
	}
	gatewaytest.Eventually(tb, "the replica is connected", func() bool {
		role, _ := s.Replica.Do("ROLE").([]any)
		return len(role) > 3 && role[3] == "connected"
	})
	return s
}

// URL returns the URL for clients.
func (s *Sentinel) URL() string {
	q := url.Values{"master_set": {MasterSet}}
	for _, n := range s.Sentinels[1:] {
		q.Add("addr", n.Addr())
	}
	return "redis://" + s.Sentinels[0].Addr() + "?" + q.Encode()
}

// AwaitMaster waits until all sentinels agree that the server is the master.
func (s *Sentinel) AwaitMaster(server *Server) {
	s.tb.Helper()
	for _, n := range s.Sentinels {
		gatewaytest.Eventually(s.tb, "the sentinels agree on the master", func() bool {
			addr := n.Strings("SENTINEL", "get-master-addr-by-name", MasterSet)
			return len(addr) == 2 && addr[1] == strconv.Itoa(server.port)
		})
	}
}

// fields turns a flat list of names and values into a map.
func fields(list []any) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return m
}
