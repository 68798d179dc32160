//go:build linux

package load

import "fmt"

// tally counts the messages of a population since it was opened.
type tally struct {
	received  uint64 // messages in order
	missing   uint64 // numbers that were skipped
	late      uint64 // duplicates, and messages after later ones
	corrupt   uint64
	misrouted uint64
	closed    uint64 // connections that the server ended
}

// faults returns the number of faults: 0 in a correct run.
func (t *tally) faults() uint64 {
	return t.missing + t.late + t.corrupt + t.misrouted + t.closed
}

// checker follows the numbers of one receiver.
type checker struct{ next uint64 }

// take notes a number and reports whether it counts as received.
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

// notes keeps the text of the first fault.
type notes struct{ first string }

func (n *notes) add(format string, args ...any) {
	if n.first == "" {
		n.first = fmt.Sprintf(format, args...)
	}
}
