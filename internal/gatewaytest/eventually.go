package gatewaytest

import (
	"testing"
	"time"
)

// Patience is the time limit of each wait in a test. Only failing tests reach
// the limit, so it may be far longer than any machine needs.
const Patience = 30 * time.Second

// Eventually waits until ok returns true, and fails the test after [Patience].
// The failure's message names the awaited condition as what.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	EventuallyWithin(t, Patience, what, ok)
}

// EventuallyWithin is [Eventually] with another limit, for tests whose subject
// is the limit. The pauses between calls of ok grow from 1 ms to 20 ms.
func EventuallyWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 20*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(pause)
	}
}
