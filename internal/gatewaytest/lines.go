package gatewaytest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lines is an [io.Writer] that keeps the written text line by line. Any number
// of goroutines may write and wait. The zero value is ready for use.
type Lines struct {
	// mu guards the rest.
	mu      sync.Mutex
	all     []string
	rest    []byte        // of a line that has no end yet
	changed chan struct{} // closed with the next line; nil while nobody waits
}

// Write implements [io.Writer].
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	added := false
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			break
		}
		l.all = append(l.all, strings.TrimSuffix(string(l.rest[:i]), "\r"))
		l.rest, added = l.rest[i+1:], true
	}
	if added && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(p), nil
}

// All returns the whole lines written so far.
func (l *Lines) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// With returns the lines that contain all the parts.
func (l *Lines) With(parts ...string) (found []string) {
	for _, line := range l.All() {
		if Contains(line, parts...) {
			found = append(found, line)
		}
	}
	return found
}

// Tail returns the last n lines, each with its end.
func (l *Lines) Tail(n int) string {
	all := l.All()
	return strings.Join(all[max(0, len(all)-n):], "\n") + "\n"
}

// Await waits for the first line that contains all the parts.
func (l *Lines) Await(t testing.TB, parts ...string) string {
	t.Helper()
	return l.AwaitWithin(t, Patience, parts...)
}

// AwaitWithin is [Lines.Await] with another limit.
func (l *Lines) AwaitWithin(t testing.TB, limit time.Duration, parts ...string) string {
	t.Helper()
	line, ok := l.await(limit, func(line string) bool { return Contains(line, parts...) })
	if !ok {
		t.Fatalf("no line with %q within %v; the last lines are:\n%s", parts, limit, l.Tail(20))
	}
	return line
}

// AwaitJSON waits for the first line that is JSON for T and passes the test.
func AwaitJSON[T any](t testing.TB, l *Lines, what string, test func(T) bool) T {
	t.Helper()
	var v T
	_, ok := l.await(Patience, func(line string) bool {
		var each T
		if json.Unmarshal([]byte(line), &each) != nil || !test(each) {
			return false
		}
		v = each
		return true
	})
	if !ok {
		t.Fatalf("no %s within %v; the last lines are:\n%s", what, Patience, l.Tail(20))
	}
	return v
}

// await returns the first line that matches, as soon as there is one.
func (l *Lines) await(limit time.Duration, match func(line string) bool) (string, bool) {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for seen := 0; ; {
		all, changed := l.watch()
		for ; seen < len(all); seen++ {
			if match(all[seen]) {
				return all[seen], true
			}
		}
		select {
		case <-changed:
		case <-timeout.C:
			return "", false
		}
	}
}

// watch returns the lines and a channel that is closed with the next one.
func (l *Lines) watch() ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.all[:len(l.all):len(l.all)], l.changed
}

// Contains reports whether s contains all the parts.
func Contains(s string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
