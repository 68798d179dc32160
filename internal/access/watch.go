package access

import (
	"context"
	"time"
)

// settleRounds is how many times the Store waits a fifth of its interval for a
// file that keeps changing.
const settleRounds = 3

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
		case answer := <-s.reloads:
			for _, f := range s.watched {
				f.reported = "" // the caller wants to know again
			}
			answer <- s.read(s.watched, e)
		}
	}
}

// poll reads the files that have changed.
func (s *Store) poll(ctx context.Context, e Events) {
	looks := make(map[*watchedFile]look)
	for _, f := range s.watched {
		if l := f.look(s.fs); l.err != nil {
			f.fail(l.err, e)
			f.forget() // to read it again when it is back
		} else if l.stamp != f.stamp || f.racy {
			looks[f] = l
		}
	}
	if len(looks) == 0 || !s.settle(ctx, looks) {
		return
	}
	var changed []*watchedFile
	for _, f := range s.watched {
		if _, looked := looks[f]; looked {
			changed = append(changed, f)
		}
	}
	s.read(changed, e)
}

// read reads files and puts their contents in force together: a token that
// moves from one file to another is not revoked in between.
func (s *Store) read(files []*watchedFile, e Events) []FileReport {
	reports := make([]FileReport, 0, len(files))
	changed := false
	for _, f := range files {
		replaced, err := f.load(s.fs)
		if err != nil {
			f.fail(err, e)
		} else if replaced {
			f.reported = ""
			changed = true
		}
		reports = append(reports, f.report(replaced, err))
	}
	if !changed {
		return reports
	}
	old := s.current.Load()
	next := newSnapshot(s.contents(), old, s.secret)
	s.current.Store(next)
	if revoked := next.revoked(old); len(revoked) > 0 && e.Revoked != nil {
		e.Revoked(revoked)
	}
	for _, r := range reports {
		if r.Changed && e.Reloaded != nil {
			e.Reloaded(r)
		}
	}
	return reports
}

// settle waits until the files have stopped changing, but not for ever: a file
// that is written in place is not read before it is complete. It returns false
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
		settled := true
		for f, before := range looks {
			now := f.look(s.fs)
			if now.stamp != before.stamp || now.err != nil {
				settled = false
			}
			looks[f] = now
		}
		if settled {
			return true
		}
		timer.Reset(s.interval / 5)
	}
	return true
}
