package router

import (
	"sync"
)

// commandList holds the commands of one front end that wait for an answer.
// These commands end when the front end ends.
type commandList struct {
	// mu guards the rest. mu is a leaf, and may be locked with a pendingTable's
	// lock held.
	mu     sync.Mutex
	head   *command
	count  int32
	closed bool
}

// add puts a command into the list. False means that the list is closed.
func (l *commandList) add(c *command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if c.next = l.head; c.next != nil {
		c.next.prev = c
	}
	l.head = c
	l.count++
	return true
}

// remove takes a command out of the list.
func (l *commandList) remove(c *command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	l.count--
}

// close closes the list for further commands, and returns a command of the list,
// nil for none.
func (l *commandList) close() *command {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.first()
}

// first returns a command of the list, nil when the list is empty.
func (l *commandList) first() *command {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

func (l *commandList) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.count)
}
