package session

// lane is a first-in first-out queue of frames in a ring that grows by
// doubling. There is none before the first frame, and one that has grown large
// is given up when it is empty, so that an idle session keeps little of it.
type lane struct {
	ring        []*Frame
	head, count int32
	bytes       int
}

func (l *lane) push(f *Frame) {
	if int(l.count) == len(l.ring) {
		l.grow()
	}
	l.ring[l.slot(l.count)] = f
	l.count++
	l.bytes += len(f.wire)
}

// slot returns where the frame with i others in front of it belongs.
func (l *lane) slot(i int32) int32 { return (l.head + i) & int32(len(l.ring)-1) }

func (l *lane) front() *Frame {
	if l.count == 0 {
		return nil
	}
	return l.ring[l.head]
}

// last returns the newest frame, nil when there is none.
func (l *lane) last() *Frame {
	if l.count == 0 {
		return nil
	}
	return l.ring[l.slot(l.count-1)]
}

func (l *lane) pop() *Frame {
	f := l.ring[l.head]
	l.ring[l.head] = nil
	l.head = l.slot(1)
	l.count--
	l.bytes -= len(f.wire)
	return f
}

// clear releases every frame and the ring.
func (l *lane) clear() {
	for l.count > 0 {
		l.pop().Release()
	}
	l.ring, l.head = nil, 0
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
		ring[i] = l.ring[l.slot(i)]
	}
	l.ring, l.head = ring, 0
}
