package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestNodesOfOneName(t *testing.T) {
	b, _ := testBus(t)
	var log strings.Builder
	b.log = zerolog.New(&log)
	clock := time.Second
	// later has the nodes given heard after a time, and says how often the log
	// warned meanwhile.
	later := func(d time.Duration, heard ...*peer) int {
		clock += d
		b.at(clock)
		for _, p := range heard {
			p.lastHeard = b.now()
		}
		log.Reset()
		b.checkPeers(b.now(), 0)
		return strings.Count(log.String(), "same name")
	}
	half := b.options.TTL / 2
	p, died := known(b, 7), known(b, 8)
	p.name, died.name = "hall-2", "hall-3"
	if later(half, p, died) != 0 {
		t.Errorf("different names: %s", log.String())
	}
	again := known(b, 9)
	again.name = "hall-3" // a new run of the one that died
	if later(time.Second, p, again) != 0 || later(half, p, again) != 0 {
		t.Errorf("another run: %s", log.String())
	}
	again.name = "hall-2"
	if later(time.Second, p, again) != 2 { // one for each
		t.Errorf("one name: %q", log.String())
	}
	for range 11 {
		if later(half, p, again) != 0 {
			t.Errorf("again within a minute: %s", log.String())
		}
	}
	if later(half, p, again) != 2 {
		t.Errorf("after a minute: %q", log.String())
	}
	p.name, again.name = b.options.Name, "hall-4"
	if later(2*time.Second, p, again) != 0 || b.peers[7].nextWarning == 0 {
		t.Error("warned of before the minute is over")
	}
	for range 11 {
		later(half, p, again)
	}
	if later(half, p, again) != 1 || !strings.Contains(log.String(), `"other":"`+nodeHex(b.id)) {
		t.Errorf("this node's own name: %q", log.String())
	}
}
