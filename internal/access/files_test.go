package access

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/filestamp"
)

// write replaces a file in one step, as an administrator should.
func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// overwrite writes a file in place with one call. The content must not be
// shorter than before, so that the file is complete at every moment.
func overwrite(t testing.TB, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
}

// TestRealFiles replaces files on the disk in every common way, with the real
// clock.
func TestRealFiles(t *testing.T) {
	both, one := tokenA+"\n"+tokenB+"\n", tokenA+"\n# "+tokenB+"\n"
	same := strings.Replace(both, tokenB, strings.ToLower(tokenB), 1) // of the same size
	for name, c := range map[string]struct {
		before func(t *testing.T, path string)
		change func(t *testing.T, path string)
	}{
		"renamed":                     {nil, func(t *testing.T, path string) { write(t, path, one) }},
		"written in place":            {nil, func(t *testing.T, path string) { overwrite(t, path, one) }},
		"written in place, same size": {nil, func(t *testing.T, path string) { overwrite(t, path, same) }},
		"removed and written": {nil, func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Millisecond)
			write(t, path, one)
		}},
		"link pointed elsewhere": {func(t *testing.T, path string) {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".1", path); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, path string) {
			write(t, path+".2", one)
			if err := os.Symlink(path+".2", path+".link"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".link", path); err != nil {
				t.Fatal(err)
			}
		}},
		"older file": {nil, func(t *testing.T, path string) {
			write(t, path+".old", one)
			past := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path+".old", past, past); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".old", path); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := realFile(t, both)
			if c.before != nil {
				c.before(t, path)
			}
			a, err := New(Config{DeviceTokenFile: path, pollInterval: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			kept, lost := source(t, a, RoleDevice, tokenA), source(t, a, RoleDevice, tokenB)
			revoked := make(chan Sources, 10)
			a.Watch(Events{Revoked: func(s Sources) { revoked <- s }})
			time.Sleep(30 * time.Millisecond)
			c.change(t, path)
			if got := <-revoked; !slices.Equal(got, Sources{lost}) || !a.InForce(kept) {
				t.Errorf("revoked %v, want %q", got, lost)
			}
			time.Sleep(50 * time.Millisecond)
			if len(revoked) != 0 {
				t.Errorf("and then %v", <-revoked)
			}
		})
	}
}

func TestRealFilesRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := realFile(t, strings.Repeat("#", maxTokenFile+1))
	for path, says := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "not a regular file",
		pipe:                       "not a regular file",
		"/dev/null":                "not a regular file",
		large:                      "more than 8388608 bytes",
	} {
		_, err := New(Config{FrontendTokenFile: path})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "--frontend-token-file: ") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q in it", path, err, says)
		}
	}
	if _, err := New(Config{DeviceTokenFile: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if a, err := New(Config{DeviceTokenFile: realFile(t, strings.Repeat("#", maxTokenFile-len(tokenA)-1)+"\n"+tokenA)}); err != nil {
		t.Error(err)
	} else {
		a.Close()
	}
}

// TestFileThatNeverHoldsStill: a read that overlaps a write is not used.
func TestFileThatNeverHoldsStill(t *testing.T) {
	fs := &restless{newMemory(map[string]string{"f": tokenA})}
	f := Config{DeviceTokenFile: "f"}
	a, err := newAuthenticator(f, fs.memory)
	if err != nil {
		t.Fatal(err)
	}
	w := a.watched[0]
	fs.replace("f", tokenB)
	if replaced, err := w.load(fs); replaced || !errors.Is(err, filestamp.ErrChanging) || w.content.len() != 1 {
		t.Errorf("%v, %v", replaced, err)
	}
	if replaced, err := w.load(fs.memory); !replaced || err != nil {
		t.Errorf("%v, %v", replaced, err)
	}
}

type restless struct{ *memory }

func (r *restless) read(path string, limit int) ([]byte, stamp, error) {
	data, s, _ := r.memory.read(path, limit)
	return data, s, filestamp.ErrChanging
}

// TestNobodyIsRefusedWhileReloading authenticates while files are replaced. One
// token is in all of the files.
func TestNobodyIsRefusedWhileReloading(t *testing.T) {
	path := realFile(t, tokenA)
	a, err := New(Config{DeviceTokenFile: path, pollInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	steady := source(t, a, RoleDevice, tokenA)
	var reloads atomic.Int32
	var mu sync.Mutex
	gone := map[string]bool{}
	a.Watch(Events{
		Reloaded: func(FileReport) { reloads.Add(1) },
		Failed:   func(err error) { t.Errorf("%v", err) },
		Revoked: func(s Sources) {
			mu.Lock()
			defer mu.Unlock()
			for _, source := range s {
				gone[source] = true
			}
		},
	})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if id, err := a.Authenticate(RoleDevice, "x", tokenA, nil); err != nil || id.Source != steady {
					t.Errorf("%+v, %v", id, err)
					return
				}
				// The other token comes and goes.
				if id, err := a.Authenticate(RoleDevice, "x", tokenB, nil); err == nil && !a.InForce(id.Source) && id.Source == steady {
					t.Errorf("%+v", id)
				}
				time.Sleep(50 * time.Microsecond)
			}
		})
	}
	for i := 0; reloads.Load() < 20; i++ {
		if i%2 == 0 {
			write(t, path, tokenB+"\n"+tokenA)
		} else {
			write(t, path, tokenA)
		}
		time.Sleep(2 * time.Millisecond)
	}
	close(stop)
	readers.Wait()
	a.Close()
	if gone[steady] {
		t.Error("a token was revoked that was there all the time")
	}
}

// TestReadNoticesAWriter: a read during a write returns filestamp.ErrChanging.
func TestReadNoticesAWriter(t *testing.T) {
	path := realFile(t, strings.Repeat("#", 1<<20))
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			// The size changes even if the clock does not.
			if err := f.Truncate(int64(1<<20 + i%2)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for {
		if _, _, err := (osFiles{}).read(path, maxTokenFile); errors.Is(err, filestamp.ErrChanging) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	writer.Wait()
}
