//go:build linux

package load

import "fmt"

// tally is the account of a population since it was opened.
type tally struct {
	received  uint64 // messages in order
	missing   uint64 // numbers that were skipped
	late      uint64 // duplicates, and messages after later ones
	corrupt   uint64
	misrouted uint64
	closed    uint64 // connections that the server ended
}

// faults is what must be 0 for everything to be in order.
func (t *tally) faults() uint64 {
	return t.missing + t.late + t.corrupt + t.misrouted + t.closed
}

// checker follows the numbers of one receiver.
type checker struct{ next uint64 }

// take notes a number and says whether it counts as received.
func (c *checker) take(seq uint64, t *tally) bool {
	switch {
	case seq == c.next:
		c.next++
	case seq > c.next:
		t.missing += seq - c.next
		c.next = seq + 1
	default:
		t.late++
		return false
	}
	t.received++
	return true
}

// notes keeps the first thing that went wrong, in words.
type notes struct{ first string }

func (n *notes) add(format string, args ...any) {
	if n.first == "" {
		n.first = fmt.Sprintf(format, args...)
	}
}
