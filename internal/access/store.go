package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultPollInterval is how often the files are looked at. With what a changed
// file is given to settle, at most three fifths of it more, a revoked token is
// gone in 800 ms.
const DefaultPollInterval = 500 * time.Millisecond

// settleRounds is how often a file that keeps changing is waited for, a fifth
// of the interval each.
const settleRounds = 3

// racyAge is how old a file's last change must be to be told from a later one
// by its time: file systems count in steps of up to two seconds.
const racyAge = 2 * time.Second

// Events are what the Store reports while it watches. All are called on its
// goroutine, one after the other, with no lock held; they must not call Close.
// Nil ones are left out.
type Events struct {
	// Revoked names credentials that are no longer in force, because a line or
	// a key is gone or grants something else. They are refused already; their
	// sessions are the caller's to end. A session that comes into being at the
	// same moment may miss the call: look at [Store.InForce] once the session
	// can be found.
	Revoked func(Sources)
	// Reloaded tells that a changed file is in force, and how many credentials
	// or keys it holds. None is allowed: it revokes all.
	Reloaded func(path string, credentials int)
	// Failed tells that a changed file cannot be used. What it held before
	// stays in force. Each failure is told once.
	Failed func(error)
}

// Store holds the credentials and keys of all files. What it gives out is a
// snapshot, replaced as a whole and never changed, so that reading takes no
// lock and reloading drops nobody.
//
// A file is best replaced in one step, by renaming another over it. One that is
// written in place is read when it has not changed for a fifth of the interval.
type Store struct {
	fs       files
	interval time.Duration
	secret   []byte // of this process, for Sources
	current  atomic.Pointer[snapshot]
	watched  []*watchedFile // the watching goroutine's, once there is one

	mu     sync.Mutex // guards cancel and closed
	cancel context.CancelFunc
	closed bool
	// done is closed by the watching goroutine, which Watch starts and Close
	// ends.
	done chan struct{}
}

// part is what one file holds: credentials or keys.
type part struct {
	credentials []credential
	keys        []key
}

func (p *part) len() int { return len(p.credentials) + len(p.keys) }

// watchedFile is one file, and what is known of it.
type watchedFile struct {
	option string // which the file was given with, for errors
	path   string
	holds  string // "token" or "key"
	limit  int
	parse  func(data []byte) (part, error)

	part    part              // what is in force
	stamp   stamp             // of the content last read, whether it was good or not
	sum     [sha256.Size]byte // of that content
	racy    bool              // it may have changed since within one step of the clock
	failing string            // what was last reported
}

func newStore(fs files, interval time.Duration, watched []*watchedFile) (*Store, error) {
	s := &Store{fs: fs, interval: interval, secret: make([]byte, 32), watched: watched, done: make(chan struct{})}
	// Never fails: crypto/rand ends the process rather than return an error.
	_, _ = rand.Read(s.secret)
	for _, f := range watched {
		if _, err := f.load(fs); err != nil {
			return nil, err
		}
		if f.part.len() == 0 {
			return nil, fmt.Errorf("%s: %s: holds no %s; add one", f.option, f.path, f.holds)
		}
	}
	s.current.Store(newSnapshot(s.parts(), nil, s.secret))
	return s, nil
}

// Watch begins to look for changes, on a goroutine that ends with Close. A
// second call, one after Close, and one without any file do nothing.
func (s *Store) Watch(e Events) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil || s.closed || len(s.watched) == 0 {
		return
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go s.watch(ctx, e)
}

// Close ends the watching and returns when it has ended. What was read last
// stays in force. It may be called again.
func (s *Store) Close() {
	s.mu.Lock()
	cancel := s.cancel
	s.closed = true
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		<-s.done
	}
}

// InForce reports whether the credential of that [Identity.Source] still lets
// somebody in. It does not look at the time; see [Identity.Expires].
func (s *Store) InForce(source string) bool {
	switch {
	case strings.HasPrefix(source, tokenPrefix), strings.HasPrefix(source, jwtPrefix):
		group, _, _ := strings.Cut(source, "/")
		_, known := s.current.Load().sources[group]
		return known
	default:
		return source == SourceOpen || strings.HasPrefix(source, certPrefix)
	}
}

func (s *Store) watch(ctx context.Context, e Events) {
	defer close(s.done)
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.poll(ctx, e)
		}
	}
}

// poll looks at all files once. Those that changed take effect together: a
// token that moves from one to another is not revoked in between.
func (s *Store) poll(ctx context.Context, e Events) {
	looks := make(map[*watchedFile]look)
	for _, f := range s.watched {
		if l := f.look(s.fs); l.err != nil {
			f.fail(l.err, e)
			// Whatever comes back is to be read again.
			f.stamp, f.sum, f.racy = stamp{}, [sha256.Size]byte{}, false
		} else if l.stamp != f.stamp || f.racy {
			looks[f] = l
		}
	}
	if len(looks) == 0 || !s.settle(ctx, looks) {
		return
	}
	var changed []*watchedFile
	for _, f := range s.watched {
		if _, looked := looks[f]; !looked {
			continue
		}
		if replaced, err := f.load(s.fs); err != nil {
			f.fail(err, e)
		} else if replaced {
			f.failing = ""
			changed = append(changed, f)
		}
	}
	if len(changed) == 0 {
		return
	}
	old := s.current.Load()
	next := newSnapshot(s.parts(), old, s.secret)
	s.current.Store(next)
	if gone := next.gone(old); len(gone) > 0 && e.Revoked != nil {
		e.Revoked(gone)
	}
	for _, f := range changed {
		if e.Reloaded != nil {
			e.Reloaded(f.path, f.part.len())
		}
	}
}

// look is the state of a file at one moment.
type look struct {
	stamp stamp
	err   error
}

// settle waits until the files have stopped changing, so that one that is
// written in place is not read half done, but not for ever. It returns false
// when ctx has ended.
func (s *Store) settle(ctx context.Context, looks map[*watchedFile]look) bool {
	timer := time.NewTimer(s.interval / 5)
	defer timer.Stop()
	for range settleRounds {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
		still := true
		for f, before := range looks {
			now := f.look(s.fs)
			if now.stamp != before.stamp || now.err != nil {
				still = false
			}
			looks[f] = now
		}
		if still {
			return true
		}
		timer.Reset(s.interval / 5)
	}
	return true
}

func (s *Store) parts() []part {
	parts := make([]part, len(s.watched))
	for i, f := range s.watched {
		parts[i] = f.part
	}
	return parts
}

func (f *watchedFile) look(fs files) look {
	st, err := fs.stat(f.path)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.option, err)
	}
	return look{st, err}
}

// load reads the file and reports whether what it holds was replaced. After an
// error it holds what it held.
func (f *watchedFile) load(fs files) (replaced bool, err error) {
	data, st, err := fs.read(f.path, f.limit)
	if errors.Is(err, errChanging) {
		f.stamp, f.sum = stamp{}, [sha256.Size]byte{}
		return false, fmt.Errorf("%s: %w", f.option, err)
	}
	f.stamp = st
	if err != nil {
		f.sum = [sha256.Size]byte{}
		return false, fmt.Errorf("%s: %w", f.option, err)
	}
	age := time.Since(st.modified)
	f.racy = age > -racyAge && age < racyAge
	sum := sha256.Sum256(data)
	if sum == f.sum {
		return false, nil
	}
	f.sum = sum
	var p part
	if len(bytes.TrimSpace(data)) > 0 {
		if p, err = f.parse(data); err != nil {
			return false, fmt.Errorf("%s: %s %w", f.option, f.path, err)
		}
	}
	f.part = p
	return true, nil
}

// fail reports err unless it was the last that was reported.
func (f *watchedFile) fail(err error, e Events) {
	if f.failing == err.Error() {
		return
	}
	f.failing = err.Error()
	if e.Failed != nil {
		e.Failed(err)
	}
}
