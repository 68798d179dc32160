package session

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"hash/maphash"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
)

// Errors of the Manager.
var (
	// ErrSessionNotFound: no open session has that id.
	ErrSessionNotFound = errors.New("session: not found")
	// ErrDuplicateDevice: the device is connected already and the Manager
	// refuses a second connection.
	ErrDuplicateDevice = errors.New("session: device is already connected")
	// ErrStopped: the Manager was stopped and accepts no further session.
	ErrStopped = errors.New("session: manager is stopped")
)

// Manager has all sessions, indexed by session id, and the devices' sessions also
// by device id.
//
// Goroutines: the wheel's, the flushers' and one writer for each blocking
// session; all end with Stop. Lock order: life, then a shard of the device index,
// then a shard of the id index. The locks of outbox, flusher, wheel,
// replacementMonitor, closingSessions and Stats are leaves: a goroutine that holds
// one of them takes no other lock.
type Manager struct {
	// Static.
	opts     Options
	start    time.Time
	wheel    *Wheel
	flushers []*flusher
	byID     idIndex
	devices  deviceIndex
	stats    Stats
	limits   [len(roles)]roleLimits // by role
	// replacements and growth watch for clients that reconnect in a loop.
	replacements replacementMonitor
	growth       growthMonitor
	// closing has the sessions that have left the indexes, but whose connections
	// are not closed yet.
	closing closingSessions

	// Atomic.
	generation atomic.Uint64
	count      atomic.Int64
	// transports counts the connections that are not closed yet, including the
	// connections of sessions that have left the indexes.
	transports atomic.Int64

	// writers waits for the blocking sessions' goroutines.
	writers sync.WaitGroup

	// life guards stopped: Add holds life shared, Stop exclusively.
	life    sync.RWMutex
	stopped bool
	// drained is closed when Stop has begun and the last transport has closed.
	drained     chan struct{}
	drainedOnce sync.Once
	// finished is closed at the end of Stop.
	finished chan struct{}
}

// NewManager starts a Manager. It fails when an option is missing or out of
// range.
func NewManager(opts Options) (*Manager, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	m := &Manager{
		opts:     opts,
		start:    start,
		wheel:    newWheel(start),
		drained:  make(chan struct{}),
		finished: make(chan struct{}),
	}
	m.limits = limitsOf(&m.opts)
	m.devices.seed = maphash.MakeSeed()
	for range opts.Flushers {
		m.flushers = append(m.flushers, newFlusher(opts.FlushInterval))
	}
	m.growth.start(m)
	return m, nil
}

// Add registers a connected peer and calls OnConnect. If the device is connected
// already, Add closes the older connection with 4000. With RefuseDuplicate, Add
// instead refuses the newer connection with ErrDuplicateDevice. The caller starts
// to read from the peer after Add has returned.
func (m *Manager) Add(info Info, t Transport) (*Session, error) {
	s := &Session{id: m.newID(), m: m, t: t, info: &info, rate: m.limits[info.Role].rate}
	s.setSource()
	now := m.now()
	s.since = now
	s.lastHeard.Store(now)
	s.lastIn.Store(now)
	s.health.Store(uint32(100))
	s.timer.Owner = s
	first := m.firstPing()
	if roles[info.Role].latePing {
		first += int64(m.opts.HeartbeatInterval)
	}
	s.nextPing = first
	s.attachment = m.opts.Callbacks.Prepare(s)
	if info.Blocking {
		s.writer = newWriter(s)
	}

	m.life.RLock()
	if m.stopped {
		m.life.RUnlock()
		return nil, ErrStopped
	}
	var old *Session
	if info.Role == RoleDevice {
		var ok bool
		old, ok = m.devices.swap(s, m.opts.RefuseDuplicate, m.register)
		if !ok {
			m.life.RUnlock()
			return nil, ErrDuplicateDevice
		}
	} else {
		m.register(s)
	}
	if s.writer != nil {
		m.writers.Add(1)
		go s.writer.run()
	}
	m.life.RUnlock()

	if old != nil {
		m.replacements.count(m, info.Name)
		m.close(old, protocol.CloseReplaced, "the device connected again from "+info.Remote, closeAfterQueue)
	}
	m.opts.Callbacks.OnConnect(s)
	s.schedule(first)
	return s, nil
}

// Remove closes the session with this id, with the given close code. The session
// has left both indexes when Remove returns. detail is for the log.
func (m *Manager) Remove(id uuid.UUID, code protocol.CloseCode, detail string) error {
	s := m.byID.get(id)
	if s == nil {
		return ErrSessionNotFound
	}
	m.close(s, code, detail, closeAfterQueue)
	return nil
}

// Get returns the open session with this id, or nil.
func (m *Manager) Get(id uuid.UUID) *Session { return m.byID.get(id) }

// ByDevice returns the open session of a device, or nil.
func (m *Manager) ByDevice(device string) *Session { return m.devices.get(device) }

// ByDeviceBytes does the same as ByDevice, for a device id in bytes. It does not
// allocate.
func (m *Manager) ByDeviceBytes(device []byte) *Session { return m.devices.getBytes(device) }

// SendTo sends a text message to one session. It fails with
// ErrSessionNotFound, ErrClosed or ErrSlowConsumer.
func (m *Manager) SendTo(id uuid.UUID, text []byte) error {
	s := m.byID.get(id)
	if s == nil {
		return ErrSessionNotFound
	}
	f := NewTextFrame(text)
	defer f.Release()
	if err := s.Send(f, false); err != nil {
		return err
	}
	s.Flush()
	return nil
}

// Broadcast sends a text message to every session for which to returns true, or to
// all sessions if to is nil. The message is encoded once. Broadcast returns the
// number of sessions that queued the message. A session whose queue is full is
// closed; the other sessions are not affected.
func (m *Manager) Broadcast(text []byte, to func(*Session) bool) int {
	f := NewTextFrame(text)
	defer f.Release()
	n := 0
	for _, s := range m.Sessions() {
		if to != nil && !to(s) {
			continue
		}
		if s.Send(f, false) == nil {
			s.Schedule()
			n++
		}
	}
	return n
}

// Len returns the number of open sessions.
func (m *Manager) Len() int { return int(m.count.Load()) }

// Devices returns the number of connected devices.
func (m *Manager) Devices() int { return m.devices.len() }

// IDs returns the ids of the open sessions, in no order.
func (m *Manager) IDs() []uuid.UUID {
	all := m.Sessions()
	ids := make([]uuid.UUID, len(all))
	for i, s := range all {
		ids[i] = s.id
	}
	return ids
}

// Sessions returns the open sessions, in no order.
func (m *Manager) Sessions() []*Session { return m.byID.snapshot(m.Len()) }

// Stats returns the Manager's counters.
func (m *Manager) Stats() *Stats { return &m.stats }

// Wheel returns the wheel that all deadlines of this gateway share.
func (m *Manager) Wheel() *Wheel { return m.wheel }

// Options returns the Manager's options, with defaults filled in.
func (m *Manager) Options() *Options { return &m.opts }

// Now returns the monotonic time since the Manager was created.
func (m *Manager) Now() time.Duration { return time.Since(m.start) }

// Stop sends all queued frames, including telemetry, closes every session with
// 1001, waits until the connections have closed, and ends all goroutines. A peer
// that has received everything and does not answer the close frame delays Stop by
// CloseGrace at most. When ctx ends, Stop closes the remaining connections at once
// and returns the error of ctx. The Manager cannot be used again. A second Stop
// waits until the first Stop has ended, or its own ctx ends.
func (m *Manager) Stop(ctx context.Context) error {
	m.life.Lock()
	if m.stopped {
		m.life.Unlock()
		select {
		case <-m.finished:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.stopped = true
	m.life.Unlock()
	defer close(m.finished)

	// Devices close first: their commands fail while the askers can still get the
	// errors.
	all := m.Sessions()
	for role := range roles {
		for _, s := range all {
			if s.info.Role == Role(role) {
				m.close(s, protocol.CloseGoingAway, "the gateway is shutting down", closeAfterAll)
			}
		}
	}
	m.checkDrained()
	var err error
	select {
	case <-m.drained:
	case <-ctx.Done():
		err = ctx.Err()
		for _, s := range append(all, m.closing.snapshot()...) {
			_ = s.t.Close()
			m.connectionEnded(s, err)
		}
		<-m.drained
	}
	for _, f := range m.flushers {
		f.stop()
	}
	m.writers.Wait()
	m.wheel.Stop()
	return err
}

// newID returns a random session id that begins with the node's number.
func (m *Manager) newID() uuid.UUID {
	id := uuid.New()
	if m.opts.Node != 0 {
		binary.BigEndian.PutUint32(id[:4], m.opts.Node)
	}
	return id
}

// register completes a session and enters it into the id index. From then on, other
// goroutines may find and end the session. So register first sets the static
// fields, and increments the counters that the end of the session decrements.
func (m *Manager) register(s *Session) {
	s.generation = m.generation.Add(1)
	s.flusher = m.flushers[s.generation%uint64(len(m.flushers))]
	m.count.Add(1)
	m.transports.Add(1)
	m.stats.Connects.Add(1)
	m.byID.put(s)
}

// now returns the Manager's monotonic time in nanoseconds.
func (m *Manager) now() int64 { return int64(time.Since(m.start)) }
