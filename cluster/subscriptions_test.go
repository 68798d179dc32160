package cluster

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// A change of one interest is work on this interest only, however many others
// there are: a front end may change its list as often as its rate allows.
func TestOnlyChangedInterestsAreSubscribed(t *testing.T) {
	b, _ := testBus(t)
	want := func(when string, devices ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(b.local.unsettled)); !slices.Equal(got, devices) {
			t.Errorf("%s: %v wait for the subscription, want %v", when, got, devices)
		}
	}
	for i := range 100 {
		b.UpdateInterest(fmt.Sprintf("other-%d", i), true)
		b.subscribed(fmt.Sprintf("other-%d", i))
	}
	want("subscribed")
	b.UpdateInterest("press-1", true)
	want("wanted", "press-1")
	b.UpdateInterest("press-1", false)
	want("no longer wanted")
	b.subscribed("press-1")
	want("subscribed too late", "press-1")
	b.unsubscribed("press-1")
	want("unsubscribed")
	b.UpdateInterest("other-7", false)
	want("ended", "other-7")
	b.UpdateInterest("other-7", true)
	want("wanted again in time")
	if n := len(b.local.interests); n != 100 {
		t.Errorf("%d interests", n)
	}
	b.local.connectionEnded()
	if n := len(b.local.unsettled); n != 100 {
		t.Errorf("%d interests are to be subscribed on the next connection", n)
	}
}
