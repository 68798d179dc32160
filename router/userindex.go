package router

import (
	"sync"

	"github.com/labgate/labgate/session"
)

// userIndex has the front ends of each user on this node. A message to a user
// reads the index without registry.mu, so that no message waits for work on the
// registry.
type userIndex struct {
	// mu guards the rest; a leaf.
	mu sync.RWMutex
	// sessions has no empty lists. Writers hold registry.mu too. A list that a
	// reader may have is never changed: writers replace the list, or append behind
	// the reader's end.
	sessions map[string][]*session.Session
}

// of returns the sessions of a user. The caller must not change the list.
func (x *userIndex) of(user []byte) []*session.Session {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.sessions[string(user)]
}

// add adds a session of a user, and reports whether the session is the user's
// first.
func (x *userIndex) add(user string, s *session.Session) (first bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sessions == nil {
		x.sessions = make(map[string][]*session.Session)
	}
	x.sessions[user] = append(x.sessions[user], s)
	return len(x.sessions[user]) == 1
}

// remove removes a session of a user, and reports whether the session was the
// user's last.
func (x *userIndex) remove(user string, s *session.Session) (last bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.sessions[user]
	left := without(before, s)
	if len(left) > 0 {
		x.sessions[user] = left
		return false
	}
	delete(x.sessions, user)
	return len(before) > 0
}
