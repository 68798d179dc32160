package cluster

import (
	"testing"
	"time"
)

func TestClockGoesForward(t *testing.T) {
	before := now()
	time.Sleep(5 * time.Millisecond)
	if passed := now() - before; passed < 5000 {
		t.Errorf("%d µs in 5 ms", passed)
	}
}

func TestOffset(t *testing.T) {
	// The other's clock is a million behind; things take 100 on their way.
	const behind, way = 1_000_000, 100
	fresh := func(sent int64) int64 { return sent + behind + way }
	var o clockOffset
	if o.heartbeat(5, fresh(5)); o.known {
		t.Error("known from a heartbeat alone, which may have been held up")
	}
	o.exchange(fresh(10)-2*way, 10, fresh(10))
	for name, c := range map[string]struct{ sent, heard, least, most int64 }{
		"as fast as ever": {20, fresh(20), 0, way},
		"held up":         {20, fresh(20) + 5000, 5000, 5000 + way},
	} {
		if age := o.delay(c.sent, c.heard); age < c.least || age > c.most {
			t.Errorf("%s: age %d, want %d to %d", name, age, c.least, c.most)
		}
	}
}

func TestOffsetFollowsTheFastestHeartbeat(t *testing.T) {
	var o clockOffset
	o.exchange(0, 0, 400) // a slow one
	o.heartbeat(1000, 1100)
	if age := o.delay(2000, 2150); age != 50 {
		t.Errorf("age %d, want 50 more than the fastest", age)
	}
	// Clocks drift: what was the fastest long ago is forgotten.
	for i := range int64(len(o.recent)) {
		o.heartbeat(10_000+i, 10_000+i+300)
	}
	if age := o.delay(20_000, 20_300); age != 0 {
		t.Errorf("age %d after the old heartbeats are forgotten, want 0", age)
	}
}

func TestExchangeRightsAClockThatStoodStill(t *testing.T) {
	var o clockOffset
	o.exchange(0, 0, 100)
	// The other's machine was paused for 10 s: all it sends looks old.
	if age := o.delay(1_000_000, 11_000_100); age != 10_000_000 {
		t.Fatalf("age %d", age)
	}
	o.exchange(12_000_000, 2_000_050, 12_000_100)
	if age := o.delay(3_000_000, 13_000_100); age > 200 {
		t.Errorf("age %d after an exchange, want what a way there and back takes at most", age)
	}
	// One that is slower than what is known tells nothing new.
	known := o.least
	if o.exchange(13_000_000, 3_000_100, 13_900_000); o.least != known {
		t.Errorf("a slow exchange changed the offset from %d to %d", known, o.least)
	}
}
