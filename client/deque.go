package client

// deque is a first-in first-out queue in a ring that grows; the zero value is
// empty.
type deque[T any] struct {
	ring []T // length 0 or a power of two
	head int
	n    int
}

func (d *deque[T]) len() int { return d.n }

func (d *deque[T]) push(v T) {
	if d.n == len(d.ring) {
		ring := make([]T, max(16, 2*len(d.ring)))
		k := copy(ring, d.ring[d.head:])
		copy(ring[k:], d.ring[:d.head])
		d.ring, d.head = ring, 0
	}
	d.ring[(d.head+d.n)&(len(d.ring)-1)] = v
	d.n++
}

// pop takes the oldest value; the deque must not be empty.
func (d *deque[T]) pop() T {
	var zero T
	v := d.ring[d.head]
	d.ring[d.head] = zero
	d.head = (d.head + 1) & (len(d.ring) - 1)
	d.n--
	return v
}
