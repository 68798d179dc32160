// Package logwriter puts a bounded queue between a log and its file, so that a
// slow reader of the file, a pipe for instance, does not block the writers.
package logwriter

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"
)

// DefaultLimit is how many bytes of a log may wait for their reader.
const DefaultLimit = 1 << 20

// maxSpare bounds the buffer that is kept for the next lines, in bytes.
const maxSpare = 64 << 10

// retryPause is the time before another attempt to write to a file that another
// process has made non-blocking and that is full.
const retryPause = 10 * time.Millisecond

// Writer is an [io.Writer] that never blocks and never fails: it queues what it
// is given, and a goroutine of its own writes. When the queue is full, or the
// file takes nothing, lines are dropped and counted. As soon as the file takes
// something again a line says how many there were, at the place where they are
// missing.
//
// Goroutine: run, started by New. It ends with Close, or, when the file never
// takes what was handed to it, with the process.
type Writer struct {
	// Static.
	out   io.Writer
	limit int
	lost  func(lines uint64) []byte
	wake  chan struct{}
	done  chan struct{}

	// mu guards the rest; a leaf.
	mu      sync.Mutex
	pending []byte
	// writing is how many bytes are being written.
	writing int
	// missing counts the lines dropped behind pending.
	missing uint64
	closed  bool
}

// New returns a Writer in front of out. At most limit bytes wait, those included
// that are being written. lost returns the line, with its end, that says how
// many lines are missing; it must not write to the Writer.
func New(out io.Writer, limit int, lost func(lines uint64) []byte) *Writer {
	w := &Writer{out: out, limit: limit, lost: lost, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues whole lines, all or none. It always returns len(p) and no error.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	// Once a line is missing the next ones are, too, until the goroutine has
	// taken what waits: the line that says so is then at the right place.
	if w.closed || w.missing > 0 || len(w.pending)+w.writing+len(p) > w.limit {
		w.missing += countLines(p)
	} else {
		w.pending = append(w.pending, p...)
	}
	w.mu.Unlock()
	w.signal()
	return len(p), nil
}

// Close writes what waits, for at most the given time, and ends the goroutine.
// Lines that are written afterwards are dropped. It reports whether everything
// was written.
func (w *Writer) Close(limit time.Duration) bool {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missing == 0
}

// Unwrap returns the file behind the Writer.
func (w *Writer) Unwrap() io.Writer { return w.out }

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until the Writer is closed. What the file does not take
// is given up until the next line: the file may take that one.
func (w *Writer) run() {
	defer close(w.done)
	f := file{out: w.out}
	var spare []byte
	for range w.wake {
		for {
			batch, missing, closed := w.take(spare)
			failed := len(batch) > 0 && !w.writeBatch(&f, batch, missing)
			if spare = batch[:0]; cap(spare) > maxSpare {
				spare = nil
			}
			if closed && (len(batch) == 0 || failed) {
				return
			}
			if len(batch) == 0 || failed {
				break
			}
		}
	}
}

// take returns what waits, with a line about what is missing behind it. What is
// queued next goes into the spare buffer.
func (w *Writer) take(spare []byte) (batch []byte, missing uint64, closed bool) {
	w.mu.Lock()
	batch, w.pending = w.pending, spare
	missing, w.missing = w.missing, 0
	w.writing = len(batch)
	closed = w.closed
	w.mu.Unlock()
	if missing > 0 {
		batch = append(batch, w.lost(missing)...)
	}
	return batch, missing, closed
}

// writeBatch writes what take has returned. It reports false when the file has
// not taken everything.
func (w *Writer) writeBatch(f *file, batch []byte, missing uint64) bool {
	dropped := f.write(batch)
	if dropped > 0 && missing > 0 {
		// The line that says how many are missing was the last one: they are
		// still to be told.
		dropped += missing - 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = 0
	w.missing += dropped
	return dropped == 0
}

// file writes lines to something that may fail in between.
type file struct {
	out io.Writer
	// torn says that the last line was not written to its end.
	torn bool
}

// write writes lines and returns how many it could not write.
func (f *file) write(lines []byte) (dropped uint64) {
	if f.torn && len(f.writeAll([]byte{'\n'})) > 0 {
		return countLines(lines)
	}
	return countLines(f.writeAll(lines))
}

// writeAll writes p and returns what it could not write.
func (f *file) writeAll(p []byte) []byte {
	for len(p) > 0 {
		n, err := f.out.Write(p)
		if n > 0 {
			f.torn = p[n-1] != '\n'
			p = p[n:]
		}
		switch {
		case err == nil:
		case errors.Is(err, syscall.EAGAIN):
			time.Sleep(retryPause)
		default:
			return p
		}
	}
	return nil
}

// countLines counts lines, the last one also without an end.
func countLines(p []byte) uint64 {
	n := bytes.Count(p, []byte{'\n'})
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return uint64(n)
}
