package access

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// defaultPollInterval is how often the files are checked for changes. A changed
// file is then given up to three fifths of the interval to settle, so that a
// revoked token is refused after at most 800 ms.
const defaultPollInterval = 500 * time.Millisecond

// Events are the callbacks of a watching Store. The Store calls them on its
// goroutine, one at a time, with no lock held. A callback must not call
// [Store.Close] or [Store.Reload]. Nil callbacks are skipped.
type Events struct {
	// Revoked lists credentials that are no longer in force, because a line or
	// a key was removed or grants something else. They are refused already; the
	// caller ends their sessions. A session that begins at the same moment may
	// be missed: the caller checks [Store.InForce] once the session can be
	// found.
	Revoked func(Sources)
	// Reloaded reports a changed file whose new content is in force.
	Reloaded func(FileReport)
	// Failed reports a changed file that cannot be used. Its former content
	// stays in force. A failure that lasts is reported once, and again with
	// each [Store.Reload].
	Failed func(error)
}

// FileReport describes one credential file.
type FileReport struct {
	// Option is the option of labgate serve that named the file.
	Option string
	Path   string
	// Credentials is how many tokens or keys of the file are in force.
	Credentials int
	// Ignored is how many keys of a JWKS file are ignored, and IgnoredReasons
	// says why, in at most 2,000 characters. See [Config].
	Ignored        int
	IgnoredReasons string
	// Changed reports whether the content in force was replaced.
	Changed bool
	// Err says why the file cannot be used. Then the former content stays in
	// force.
	Err error
}

// Store holds the credentials and keys of all files. Readers get a snapshot
// that never changes, so that reading takes no lock. A reload replaces the
// snapshot as a whole.
//
// A file is best replaced in one step, by renaming another over it. A file that
// is written in place is read once it has not changed for a fifth of the
// polling interval.
type Store struct {
	fs       files
	interval time.Duration
	secret   []byte // of this process, for Sources
	current  atomic.Pointer[snapshot]
	// watched belongs to the watching goroutine once there is one.
	watched []*watchedFile

	mu     sync.Mutex // guards cancel and closed
	cancel context.CancelFunc
	closed bool
	// done is closed by the watching goroutine, which Watch starts and Close
	// ends.
	done chan struct{}
	// reloads hands requests of Reload to the watching goroutine.
	reloads chan chan []FileReport
}

func newStore(fs files, interval time.Duration, watched []*watchedFile) (*Store, error) {
	s := &Store{
		fs: fs, interval: interval, secret: make([]byte, 32), watched: watched,
		done: make(chan struct{}), reloads: make(chan chan []FileReport),
	}
	// Never fails: crypto/rand ends the process rather than return an error.
	_, _ = rand.Read(s.secret)
	for _, f := range watched {
		if _, err := f.load(fs); err != nil {
			return nil, err
		}
	}
	s.current.Store(newSnapshot(s.contents(), nil, s.secret))
	return s, nil
}

// Files reports what is in force of each file. The caller must not change the
// reports.
func (s *Store) Files() []FileReport { return s.current.Load().files }

// InForce reports whether the credential with this [Identity.Source] is still
// accepted. It ignores the time; see [Identity.Expires].
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

// Watch starts the goroutine that checks the files for changes. Close ends it.
// Watch does nothing when it is called again, after Close, or without files.
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

// Reload reads all files at once, changed or not, and returns a report for each
// of them when their content is in force. The callbacks given to Watch are
// called as for any other change, before Reload returns. Without a watching
// goroutine, that is before Watch, after Close and without files, Reload does
// nothing and returns nil.
func (s *Store) Reload() []FileReport {
	s.mu.Lock()
	watching := s.cancel != nil
	s.mu.Unlock()
	if !watching {
		return nil
	}
	answer := make(chan []FileReport, 1)
	select {
	case s.reloads <- answer:
		return <-answer
	case <-s.done:
		return nil
	}
}

// Close ends the watching goroutine and waits for it. What was read last stays
// in force. Close may be called again.
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

func (s *Store) contents() []fileContent {
	contents := make([]fileContent, len(s.watched))
	for i, f := range s.watched {
		contents[i] = fileContent{f.content, f.report(false, nil)}
	}
	return contents
}
