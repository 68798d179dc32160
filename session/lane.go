package session

// lane is a first-in first-out queue of frames in a ring that grows by
// doubling and is given up when it is empty, so that an idle session keeps no
// queue memory.
type lane struct {
	ring  []*Frame
	head  int
	count int
	bytes int
}

func (l *lane) push(f *Frame) {
	if l.count == len(l.ring) {
		l.grow()
	}
	l.ring[(l.head+l.count)&(len(l.ring)-1)] = f
	l.count++
	l.bytes += len(f.wire)
}

func (l *lane) front() *Frame {
	if l.count == 0 {
		return nil
	}
	return l.ring[l.head]
}

func (l *lane) pop() *Frame {
	f := l.ring[l.head]
	l.ring[l.head] = nil
	l.head = (l.head + 1) & (len(l.ring) - 1)
	l.count--
	l.bytes -= len(f.wire)
	return f
}

// clear releases every frame and the ring.
func (l *lane) clear() (frames int) {
	for l.count > 0 {
		l.pop().Release()
		frames++
	}
	l.ring, l.head = nil, 0
	return frames
}

// keepRing is the ring size that an empty lane keeps: growing from nothing for
// each burst would cost an allocation per flush.
const keepRing = 64

// trim gives an oversized ring back once the lane has run empty.
func (l *lane) trim() {
	if l.count == 0 && len(l.ring) > keepRing {
		l.ring, l.head = nil, 0
	}
}

func (l *lane) grow() {
	size := len(l.ring) * 2
	if size == 0 {
		size = 4
	}
	ring := make([]*Frame, size)
	for i := range l.count {
		ring[i] = l.ring[(l.head+i)&(len(l.ring)-1)]
	}
	l.ring, l.head = ring, 0
}
