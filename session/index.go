package session

import (
	"hash/maphash"
	"sync"

	"github.com/google/uuid"
)

// indexShards is the number of shards of an index; each shard has its own lock. A
// look-up holds one shard's read lock for one map access. A snapshot copies one
// shard at a time, so that a registration waits for the copy of one shard at most.
const indexShards = 64

// shardOf uses the last byte of the id, because the first four bytes may be the
// node's number.
func shardOf(id uuid.UUID) int { return int(id[len(id)-1]) % indexShards }

// idIndex maps session ids to sessions.
type idIndex struct {
	shards [indexShards]struct {
		mu sync.RWMutex
		m  map[uuid.UUID]*Session
	}
}

func (x *idIndex) get(id uuid.UUID) *Session {
	sh := &x.shards[shardOf(id)]
	sh.mu.RLock()
	s := sh.m[id]
	sh.mu.RUnlock()
	return s
}

func (x *idIndex) put(s *Session) {
	sh := &x.shards[shardOf(s.id)]
	sh.mu.Lock()
	if sh.m == nil {
		sh.m = make(map[uuid.UUID]*Session)
	}
	sh.m[s.id] = s
	sh.mu.Unlock()
}

func (x *idIndex) remove(id uuid.UUID) {
	sh := &x.shards[shardOf(id)]
	sh.mu.Lock()
	delete(sh.m, id)
	sh.mu.Unlock()
}

// snapshot returns all sessions that were in the index during the whole call. It
// may also return sessions that were added or removed during the call.
func (x *idIndex) snapshot(sizeHint int) []*Session {
	all := make([]*Session, 0, sizeHint)
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.RLock()
		for _, s := range sh.m {
			all = append(all, s)
		}
		sh.mu.RUnlock()
	}
	return all
}

// deviceIndex maps device ids to the newest session of each.
type deviceIndex struct {
	seed   maphash.Seed
	shards [indexShards]struct {
		mu sync.RWMutex
		m  map[string]*Session
	}
}

func (x *deviceIndex) get(device string) *Session {
	sh := &x.shards[maphash.String(x.seed, device)%indexShards]
	sh.mu.RLock()
	s := sh.m[device]
	sh.mu.RUnlock()
	return s
}

// getBytes is get for a name in a read buffer; it does not allocate.
func (x *deviceIndex) getBytes(device []byte) *Session {
	sh := &x.shards[maphash.Bytes(x.seed, device)%indexShards]
	sh.mu.RLock()
	s := sh.m[string(device)]
	sh.mu.RUnlock()
	return s
}

// swap makes s the session of its device and returns the previous session, nil for
// none. With refuse, swap keeps a previous session and returns it with ok false.
// swap calls register with the shard's lock held. So when two connections of one
// device begin at the same time, the session with the higher generation remains in
// the index, and other goroutines find completely registered sessions only.
func (x *deviceIndex) swap(s *Session, refuse bool, register func(*Session)) (old *Session, ok bool) {
	sh := &x.shards[maphash.String(x.seed, s.info.Name)%indexShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.m == nil {
		sh.m = make(map[string]*Session)
	}
	old = sh.m[s.info.Name]
	if old != nil && refuse {
		return old, false
	}
	register(s)
	sh.m[s.info.Name] = s
	return old, true
}

// removeIf removes s if s is still the session of its device: the clean-up of an
// old session must not remove the new session.
func (x *deviceIndex) removeIf(s *Session) bool {
	sh := &x.shards[maphash.String(x.seed, s.info.Name)%indexShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.m[s.info.Name] != s {
		return false
	}
	delete(sh.m, s.info.Name)
	return true
}

func (x *deviceIndex) len() (n int) {
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.RLock()
		n += len(sh.m)
		sh.mu.RUnlock()
	}
	return n
}
