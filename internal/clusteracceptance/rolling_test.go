package clusteracceptance

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// The nodes are replaced one by one, as for a new version. Every device
// reconnects at once to another node, and every command has an outcome.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	stopMoving, stopAsking := make(chan struct{}), make(chan struct{})
	var roamers []*roamer
	var ids []string
	devices := map[string]*device{}
	for i := range 6 {
		r := newRoamer(f, fmt.Sprintf("oven-%d", i), 0, stopMoving)
		roamers, ids, devices[r.id] = append(roamers, r), append(ids, r.id), r.device
	}
	var askers []*asker
	for i := range 3 {
		askers = append(askers, newAsker(f, fmt.Sprintf("ann-%d", i), 5*time.Millisecond, ids, stopAsking))
	}
	watchers := newWatchers(f, 3, stopAsking)
	time.Sleep(500 * time.Millisecond)
	for i := range f.names {
		f.replace(i, syscall.SIGTERM, 0)
		// As docs/cluster.md says, the next node is replaced when this one is
		// ready.
		f.awaitWhole()
	}
	close(stopMoving)
	for _, r := range roamers {
		<-r.done
	}
	f.checkHolders(roamers)
	watchers.checkAgainst(ids)
	for _, r := range roamers {
		r.endStream()
	}
	watchers.checkSamples(devices)
	close(stopAsking)
	outcomes := map[string]int{}
	for _, a := range askers {
		for outcome, n := range a.balance(devices) {
			outcomes[outcome] += n
		}
	}
	watchers.leave()
	t.Logf("commands: %v", outcomes)
	if outcomes[answered] < 100 {
		t.Errorf("only %d commands were answered", outcomes[answered])
	}
	for _, n := range f.all() {
		if outages := n.Metric("labgate_bus_outages_total"); outages != 0 {
			t.Errorf("%s counts %v outages", n.name, outages)
		}
	}
	for _, r := range roamers {
		for _, p := range r.all {
			p.reset()
		}
	}
}
