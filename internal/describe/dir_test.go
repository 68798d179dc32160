package describe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write replaces a file of a directory in one step.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, ".tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func title(d *Described) string {
	if d == nil {
		return ""
	}
	return d.Title
}

func TestDirFinds(t *testing.T) {
	path := t.TempDir()
	write(t, path, "press-1.json", `{"title":"press 1"}`)
	write(t, path, "press.json", "\xef\xbb\xbf {\"title\":\"press\"}\n")
	write(t, path, ".hidden.json", `{`)
	write(t, path, "press-2.json~", `{`)
	write(t, path, "README", `{`)
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ device, typ, want string }{
		{"press-1", "press", "press 1"}, {"press-2", "press", "press"}, {"oven-1", "", ""}, {"x", "../press", ""}, {"x", "press-1", "press 1"},
	} {
		if got := title(d.Find(c.device, c.typ)); got != c.want {
			t.Errorf("%s of type %s: %q, want %q", c.device, c.typ, got, c.want)
		}
	}
	if d.Len() != 2 {
		t.Error(d.Len())
	}
}

// A directory that cannot be used is an error that names the file.
func TestDirThatCannotBeUsed(t *testing.T) {
	if _, err := OpenDir(filepath.Join(t.TempDir(), "none")); err == nil || !strings.HasPrefix(err.Error(), "--descriptions: open ") {
		t.Error(err)
	}
	for _, c := range []struct{ text, want string }{
		{`{"titel":1}`, `press.json: at "/titel": is not known here`},
		{``, `press.json: empty`},
		{"{\n  \"title\": \"a\",\n}", `press.json: at byte `},
		{`{"title":"` + strings.Repeat("a", 70<<10) + `"}`, `press.json: more than 66560 bytes`},
	} {
		path := t.TempDir()
		write(t, path, "press.json", c.text)
		if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	path := t.TempDir()
	if err := os.Mkdir(filepath.Join(path, "press.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Error(err)
	}
	path = t.TempDir()
	for i := range maxDirFiles + 1 {
		write(t, path, fmt.Sprintf("press-%d.json", i), `{}`)
	}
	if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), "1025 descriptions, at most 1024 allowed") {
		t.Error(err)
	}
}

// watched is a Dir that is watched, and its reports.
type watched struct {
	*Dir
	path string

	mu      sync.Mutex
	changes int
	reports []FileReport
}

func watch(t *testing.T, files map[string]string) *watched {
	t.Helper()
	w := &watched{path: t.TempDir()}
	for name, text := range files {
		write(t, w.path, name, text)
	}
	var err error
	if w.Dir, err = OpenDir(w.path); err != nil {
		t.Fatal(err)
	}
	w.Watch(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes++
	}, func(r FileReport) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reports = append(w.reports, r)
	})
	t.Cleanup(w.Close)
	return w
}

func (w *watched) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (w *watched) reported(part string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, r := range w.reports {
		if strings.Contains(fmt.Sprint(r.Path, " ", r.Err), part) {
			n++
		}
	}
	return n
}

func TestDirIsWatched(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{"press.json": `{"title":"1"}`})
	write(t, w.path, "press.json", `{"title":"2"}`)
	write(t, w.path, "oven.json", `{"title":"oven"}`)
	w.await(t, "both files are read", func() bool {
		return title(w.Find("press", "")) == "2" && title(w.Find("oven", "")) == "oven"
	})
	write(t, w.path, "press.json", `{"titel":"3"}`)
	w.await(t, "the failure is reported", func() bool { return w.reported(`at "/titel"`) == 1 })
	if title(w.Find("press", "")) != "2" {
		t.Error("a file that cannot be used has changed the description")
	}
	if err := os.Remove(filepath.Join(w.path, "oven.json")); err != nil {
		t.Fatal(err)
	}
	w.await(t, "the removed file has no effect", func() bool { return w.Find("oven", "") == nil })
	if err := os.Rename(w.path, w.path+"-moved"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "the missing directory is reported", func() bool { return w.reported("no such file") == 1 })
	if title(w.Find("press", "")) != "2" {
		t.Error("a missing directory has removed the descriptions")
	}
	if err := os.Rename(w.path+"-moved", w.path); err != nil {
		t.Fatal(err)
	}
	write(t, w.path, "press.json", `{"title":"4"}`)
	w.await(t, "the directory is back", func() bool { return title(w.Find("press", "")) == "4" })
	if n := w.reported(`at "/titel"`); n != 1 {
		t.Errorf("the failure was reported %d times", n)
	}
}

func TestDirReload(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{"press.json": `{"title":"1"}`, "oven.json": `{"title":"oven"}`})
	write(t, w.path, "press.json", `{"title":"2"}`)
	write(t, w.path, "oven.json", `{`)
	reports := w.Reload()
	if len(reports) != 2 || title(w.Find("press", "")) != "2" || title(w.Find("oven", "")) != "oven" {
		t.Fatalf("%+v", reports)
	}
	for _, r := range reports {
		if strings.HasSuffix(r.Path, "oven.json") != (r.Err != nil) || r.Version == "" || r.Changed != (r.Err == nil) {
			t.Errorf("%+v", r)
		}
	}
	w.Close()
	if w.Reload() != nil {
		t.Error("reloaded after Close")
	}
}
