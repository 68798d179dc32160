package client

import (
	"encoding/binary"
	"sync"

	"github.com/labgate/labgate/protocol"
)

// priority orders what is sent.
type priority uint8

const (
	priorityUrgent priority = iota
	priorityText
	priorityTelemetry
)

// frameOverhead is added to the size of each queued message, so that the limit
// on bytes also limits the number of tiny messages.
const frameOverhead = 64

// spareBytes limits the telemetry buffers that are kept for reuse.
const spareBytes = 256 << 10

// waiting is the event that the sending goroutine waits for; no other event
// wakes the goroutine.
type waiting uint8

const (
	forNothing  waiting = iota // it runs
	forAnything                // everything is sent
	forUrgency                 // telemetry lingers so that several frames are sent together; text or a full batch ends the wait
)

// queue holds the messages that wait to be sent, by priority. Any goroutine
// may add messages; only the connection's sender removes them. Text belongs to
// one connection, identified by its epoch, and is discarded with the
// connection; telemetry waits for the next connection.
type queue struct {
	limits SendBuffer
	wake   chan struct{} // capacity 1

	mu         sync.Mutex
	epoch      uint64 // number of the present or last connection
	connected  bool
	final      error // set once nothing will be sent any more
	maxMessage int   // bytes, the gateway's limit
	waits      waiting

	waiting        [3]deque[[]byte]
	textBytes      int
	telemetryBytes int
	unsent         bool            // a message was taken and is not flushed yet
	idle           []chan struct{} // closed when everything is sent
	free           [][]byte

	droppedFrames  uint64
	droppedSamples uint64
}

func newQueue(limits SendBuffer) *queue {
	return &queue{limits: limits, wake: make(chan struct{}, 1)}
}

// connect starts a new connection's epoch.
func (q *queue) connect(maxMessage int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.epoch++
	q.connected = true
	q.maxMessage = maxMessage
	q.waits = forNothing
	q.unsent = false
}

// disconnect ends the epoch: unsent text is discarded, and waiting goroutines
// are woken, which must check the epoch again.
func (q *queue) disconnect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.connected = false
	q.waiting[priorityUrgent], q.waiting[priorityText] = deque[[]byte]{}, deque[[]byte]{}
	q.textBytes = 0
	q.letGo()
	q.signal()
}

// finish makes all later calls fail with err.
func (q *queue) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.final = err
	q.waiting[priorityTelemetry] = deque[[]byte]{}
	q.telemetryBytes = 0
	q.free = nil
}

// present returns the epoch of the present connection, or an error if there is
// none.
func (q *queue) present() (uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epoch, q.unavailable(q.epoch)
}

// still returns nil while the connection of that epoch exists.
func (q *queue) still(epoch uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unavailable(epoch)
}

// putText queues an encoded message for the given epoch's connection.
func (q *queue) putText(epoch uint64, msg []byte, urgent bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.unavailable(epoch); err != nil {
		return err
	}
	if q.maxMessage > 0 && len(msg) > q.maxMessage {
		return ErrTooLarge
	}
	size := len(msg) + frameOverhead
	if q.textBytes+size > q.limits.Text {
		return ErrQueueFull
	}
	q.textBytes += size
	l := priorityText
	if urgent {
		l = priorityUrgent
	}
	q.waiting[l].push(msg)
	if q.waits != forNothing {
		q.signal()
	}
	return nil
}

// putTelemetry queues a frame, with or without a connection, and drops the
// oldest frames to make room. The queue then owns the frame.
func (q *queue) putTelemetry(frame []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.final != nil {
		return q.final
	}
	q.telemetryBytes += len(frame) + frameOverhead
	t := &q.waiting[priorityTelemetry]
	t.push(frame)
	for q.telemetryBytes > q.limits.Telemetry {
		q.drop(q.popTelemetry())
	}
	if q.waits == forAnything || q.waits == forUrgency && q.telemetryBytes >= batchSize {
		q.signal()
	}
	return nil
}

// buffer returns an empty buffer with room for size bytes.
func (q *queue) buffer(size int) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.free); n > 0 {
		b := q.free[n-1]
		q.free = q.free[:n-1]
		if cap(b) >= size {
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

// take returns the next message to send. If there is none, ok is false, and
// take has noted what the sender will wait for: with linger set, only for
// events that end the linger; otherwise for any message.
func (q *queue) take(linger bool) (msg []byte, from priority, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waits = forNothing
	for l := range q.waiting {
		if q.waiting[l].len() == 0 {
			continue
		}
		if priority(l) == priorityTelemetry {
			msg = q.popTelemetry()
			if q.maxMessage > 0 && len(msg) > q.maxMessage { // the limit of this node is smaller than that of the previous node
				q.drop(msg)
				return q.takeNothing(linger)
			}
		} else {
			msg = q.waiting[l].pop()
			q.textBytes -= len(msg) + frameOverhead
		}
		q.unsent = true
		return msg, priority(l), true
	}
	return q.takeNothing(linger)
}

func (q *queue) takeNothing(linger bool) ([]byte, priority, bool) {
	switch {
	case q.waiting[priorityTelemetry].len() > 0:
		q.signal() // an oversized frame was dropped; try again
	case linger:
		q.waits = forUrgency
	default:
		q.waits = forAnything
	}
	return nil, 0, false
}

// flushed notes that all taken messages are written to the network.
func (q *queue) flushed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsent = false
	if q.empty() {
		q.letGo()
	}
}

// recycle returns the buffer of a sent telemetry frame for reuse.
func (q *queue) recycle(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.recycleLocked(b)
}

// whenIdle returns a channel that is closed when everything queued is written
// to the network, or when the connection of the returned epoch has ended.
func (q *queue) whenIdle() (<-chan struct{}, uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.unavailable(q.epoch); err != nil {
		return nil, 0, err
	}
	done := make(chan struct{})
	if q.empty() && !q.unsent {
		close(done)
	} else {
		q.idle = append(q.idle, done)
	}
	return done, q.epoch, nil
}

// unavailable returns why nothing can be sent in this epoch; mu is held.
func (q *queue) unavailable(epoch uint64) error {
	switch {
	case q.final != nil:
		return q.final
	case !q.connected || q.epoch != epoch:
		return ErrNotConnected
	}
	return nil
}

func (q *queue) empty() bool {
	return q.waiting[priorityUrgent].len()+q.waiting[priorityText].len()+q.waiting[priorityTelemetry].len() == 0
}

func (q *queue) letGo() {
	for _, done := range q.idle {
		close(done)
	}
	q.idle = nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) popTelemetry() []byte {
	b := q.waiting[priorityTelemetry].pop()
	q.telemetryBytes -= len(b) + frameOverhead
	return b
}

// drop counts a frame that will not be sent.
func (q *queue) drop(frame []byte) {
	q.droppedFrames++
	q.droppedSamples += uint64(binary.LittleEndian.Uint16(frame[protocol.TelemetryHeaderSize-2:]))
	q.recycleLocked(frame)
}

func (q *queue) recycleLocked(b []byte) {
	if (len(q.free)+1)*cap(b) <= spareBytes && q.final == nil {
		q.free = append(q.free, b)
	}
}
