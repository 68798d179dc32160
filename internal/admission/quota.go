package admission

import "sync"

// quota counts by key up to a limit; 0 is none, and then nothing is counted.
type quota[K comparable] struct {
	limit int

	// mu guards held; a leaf.
	mu   sync.Mutex
	held map[K]int
}

func (q *quota[K]) acquire(key K) bool { return q.acquireBeyond(key, 0) }

// acquireBeyond lets a key have as many more than the limit.
func (q *quota[K]) acquireBeyond(key K, spare int) bool {
	if q.limit == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[key] >= q.limit+spare {
		return false
	}
	if q.held == nil {
		q.held = make(map[K]int)
	}
	q.held[key]++
	return true
}

func (q *quota[K]) release(key K) {
	if q.limit == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[key]--; q.held[key] <= 0 {
		delete(q.held, key)
	}
}
