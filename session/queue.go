package session

// queue is a first-in, first-out queue of frames in a ring. A full ring is replaced
// by a ring of twice the size. A new queue has no ring, and an empty queue keeps a
// small ring only, so that an idle session holds little memory.
type queue struct {
	ring        []*Frame
	head, count int32
	bytes       int // size of all frames on the wire
}

func (q *queue) push(f *Frame) {
	if int(q.count) == len(q.ring) {
		q.grow()
	}
	q.ring[q.slot(q.count)] = f
	q.count++
	q.bytes += len(f.wire)
}

// slot returns the index in the ring of the i-th frame, counted from the oldest
// frame.
func (q *queue) slot(i int32) int32 { return (q.head + i) & int32(len(q.ring)-1) }

// front returns the oldest frame, nil when there is none.
func (q *queue) front() *Frame {
	if q.count == 0 {
		return nil
	}
	return q.ring[q.head]
}

// last returns the newest frame, nil when there is none.
func (q *queue) last() *Frame {
	if q.count == 0 {
		return nil
	}
	return q.ring[q.slot(q.count-1)]
}

// pop removes and returns the oldest frame, which must exist.
func (q *queue) pop() *Frame {
	f := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = q.slot(1)
	q.count--
	q.bytes -= len(f.wire)
	return f
}

// clear releases all frames and the ring.
func (q *queue) clear() {
	for q.count > 0 {
		q.pop().Release()
	}
	q.ring, q.head = nil, 0
}

// keepRing is the largest ring that an empty queue keeps. Without it, each burst of
// frames would allocate a new ring.
const keepRing = 64

// trim releases an oversized ring if the queue is empty.
func (q *queue) trim() {
	if q.count == 0 && len(q.ring) > keepRing {
		q.ring, q.head = nil, 0
	}
}

func (q *queue) grow() {
	size := len(q.ring) * 2
	if size == 0 {
		size = 4
	}
	ring := make([]*Frame, size)
	for i := range q.count {
		ring[i] = q.ring[q.slot(i)]
	}
	q.ring, q.head = ring, 0
}
