package logwriter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lostLine(n uint64) []byte { return fmt.Appendf(nil, "lost %d\n", n) }

// account reads lines and returns how many there were, and how many the lines
// about lost ones say.
func account(t *testing.T, text string) (lines, lost uint64) {
	t.Helper()
	for line := range strings.Lines(text) {
		var n uint64
		if _, err := fmt.Sscanf(line, "lost %d\n", &n); err == nil {
			lost += n
			continue
		}
		if !strings.HasPrefix(line, "line ") || !strings.HasSuffix(line, " end\n") {
			t.Errorf("not a whole line: %q", line)
		}
		lines++
	}
	return lines, lost
}

// TestReaderThatStops: nobody waits for a reader that has stopped, and when it
// goes on it is told exactly how many lines are missing, where they are missing.
func TestReaderThatStops(t *testing.T) {
	r, out := pipe(t)
	w := New(out, 10_000, lostLine)
	const writers, each = 4, 5000
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				p := fmt.Appendf(nil, "line %d %d end\n", i, n)
				if wrote, err := w.Write(p); wrote != len(p) || err != nil {
					t.Errorf("wrote %d: %v", wrote, err)
				}
			}
		})
	}
	all.Wait() // with nobody reading

	in := bufio.NewReader(r)
	var lines, lost uint64
	for lines+lost < writers*each {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%d lines and %d lost of %d: %v", lines, lost, writers*each, err)
		}
		l, n := account(t, line)
		lines, lost = lines+l, lost+n
	}
	if lines+lost != writers*each || lost == 0 || lines == 0 {
		t.Errorf("%d lines and %d lost of %d", lines, lost, writers*each)
	}
	fmt.Fprintf(w, "line after end\n")
	if line, err := in.ReadString('\n'); line != "line after end\n" {
		t.Errorf("then came %q, %v", line, err)
	}
	if !w.Close(patience) {
		t.Error("not everything was written")
	}
}

// TestReaderThatCloses: a pipe that is closed fails every write, and costs
// nothing else. A named pipe may find another reader.
func TestReaderThatCloses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(flag int) *os.File {
		f, err := os.OpenFile(name, flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open(os.O_RDONLY | syscall.O_NONBLOCK)
	w := New(open(os.O_WRONLY), 10_000, lostLine)
	fmt.Fprintf(w, "line 0 end\n")
	if got, err := bufio.NewReader(first).ReadString('\n'); got != "line 0 end\n" {
		t.Fatalf("got %q, %v", got, err)
	}
	first.Close()
	for n := 1; n <= 100; n++ {
		fmt.Fprintf(w, "line %d end\n", n)
		time.Sleep(100 * time.Microsecond) // so that most of them fail one by one
	}
	in := bufio.NewReader(open(os.O_RDONLY | syscall.O_NONBLOCK))
	fmt.Fprintf(w, "line 101 end\n")
	var text strings.Builder
	for deadline := time.Now().Add(patience); !strings.Contains(text.String(), "lost"); {
		line, err := in.ReadString('\n')
		if err != nil && time.Now().After(deadline) {
			t.Fatalf("nothing came after %q: %v", text.String(), err)
		}
		text.WriteString(line)
	}
	if lines, lost := account(t, text.String()); lines+lost != 101 || lost == 0 {
		t.Errorf("%d lines and %d lost of 101: %q", lines, lost, text.String())
	}
	if !w.Close(patience) {
		t.Error("not everything was written")
	}
}

// TestFileThatFailsInTheMiddleOfALine: the rest of the line is not glued to the
// next one, and each line that is not whole is counted once.
func TestFileThatFailsInTheMiddleOfALine(t *testing.T) {
	out := &disk{room: 16}
	w := New(out, 10_000, lostLine)
	for n := range 4 {
		fmt.Fprintf(w, "line %d end\n", n)
	}
	out.await(t, func() bool { return out.failures > 0 })
	fmt.Fprintf(w, "line 4 end\n")
	out.await(t, func() bool { return out.failures > 1 })
	out.mu.Lock()
	out.room = 1000
	out.mu.Unlock()
	fmt.Fprintf(w, "line 5 end\n")
	if !w.Close(patience) {
		t.Error("not everything was written")
	}
	if got, want := string(out.data), "line 0 end\nline \nlost 5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNonBlockingFile: another process may have made the file non-blocking, and
// then a full pipe is no error.
func TestNonBlockingFile(t *testing.T) {
	r, out := pipe(t)
	w := New(again{out}, 1<<20, lostLine)
	const n = 20_000 // more than a pipe holds
	go func() {
		for i := range n {
			fmt.Fprintf(w, "line %d end\n", i)
		}
		w.Close(patience)
		out.Close()
	}()
	text, err := io.ReadAll(r)
	if lines, lost := account(t, string(text)); lines != n || lost != 0 || err != nil {
		t.Errorf("%d lines, %d lost, %v", lines, lost, err)
	}
}

// TestCloseWritesWhatWaits, but does not wait for a reader for ever.
func TestCloseWritesWhatWaits(t *testing.T) {
	out := &disk{room: 1 << 20}
	w := New(out, 1<<20, lostLine)
	for n := range 1000 {
		fmt.Fprintf(w, "line %d end\n", n)
	}
	if !w.Close(patience) {
		t.Error("not everything was written")
	}
	fmt.Fprintf(w, "line late end\n")
	if lines, lost := account(t, string(out.data)); lines != 1000 || lost != 0 {
		t.Errorf("%d lines, %d lost", lines, lost)
	}

	r, full := pipe(t)
	w = New(full, 1<<20, lostLine)
	w.Write(make([]byte, 1<<20-1)) // a pipe holds 64 KiB
	if begin := time.Now(); w.Close(50*time.Millisecond) || time.Since(begin) > patience/2 {
		t.Errorf("Close took %v for a reader that had stopped", time.Since(begin))
	}
	r.Close() // ends the goroutine
	<-w.done
}

// TestQueueIsBounded: the limit holds for what waits and what is being written
// together.
func TestQueueIsBounded(t *testing.T) {
	r, out := pipe(t)
	const limit = 1 << 20
	w := New(out, limit, lostLine)
	line := []byte("line " + strings.Repeat("x", 990) + " end\n")
	for range 10_000 {
		w.Write(line)
		w.mu.Lock()
		if n := len(w.pending) + w.writing; n > limit {
			t.Fatalf("%d bytes wait", n)
		}
		w.mu.Unlock()
	}
	r.Close()
	w.Close(patience)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// disk is a file on a disk with little room.
type disk struct {
	mu       sync.Mutex
	room     int
	failures int
	data     []byte
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.data = append(d.data, p[:n]...)
	if n < len(p) {
		d.failures++
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) await(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		done := ok()
		d.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

// again writes to a non-blocking descriptor as a program does that does not know
// of that.
type again struct{ f *os.File }

func (a again) Write(p []byte) (int, error) {
	raw, err := a.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	if e := raw.Control(func(fd uintptr) { n, err = syscall.Write(int(fd), p) }); e != nil {
		err = e
	}
	if n < 0 {
		n = 0
	}
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return n, err
	}
	return n, err
}
