package describe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/filestamp"
	"github.com/labgate/labgate/protocol/description"
)

const (
	// dirInterval is how often a Dir looks for changes. A changed file is read
	// when it has the same stamp twice, so that a file that is written in place is
	// complete.
	dirInterval = 500 * time.Millisecond
	// maxDirFiles and maxDirWeight bound the files of a Dir; maxDirWeight is in
	// bytes of memory (Described.Weight).
	maxDirFiles  = 1024
	maxDirWeight = 64 << 20
	// fileSuffix ends the names of the files that a Dir reads.
	fileSuffix = ".json"
)

// FileReport describes one file of a Dir that was read again.
type FileReport struct {
	Path string
	// Version is the version of the description in force, "" without one.
	Version string
	// Changed reports whether the description in force was replaced, or removed.
	Changed bool
	// Err says why the file cannot be used. What the file held before stays in
	// force.
	Err error
}

// Dir is a directory of descriptions: ID.json describes the device of that id, and
// TYPE.json describes devices of that type. Names that begin with a dot, and names
// that do not end in .json, are ignored.
//
// Watch starts one goroutine, which reads changed files; Close ends it.
type Dir struct {
	// Static.
	path string
	// current has the descriptions in force by name, without .json. Replaced, not
	// changed.
	current atomic.Pointer[map[string]*Described]
	// files belongs to the watching goroutine once there is one.
	files map[string]*dirFile

	mu     sync.Mutex // guards cancel and closed
	cancel context.CancelFunc
	closed bool
	// done is closed by the watching goroutine.
	done chan struct{}
	// reloads hands requests of Reload to the watching goroutine.
	reloads chan chan []FileReport
}

// dirFile is what a Dir knows of one file.
type dirFile struct {
	described *Described // in force; nil for none
	stamp     filestamp.Stamp
	sum       [sha256.Size]byte // of the bytes that were read last
	// seen is the stamp at the last look. missing: the file was not there then.
	seen    filestamp.Stamp
	missing bool
	// racy: the file may have changed since it was read without its stamp showing
	// that.
	racy bool
	// reported is the failure that was reported last.
	reported string
}

// OpenDir reads all descriptions of a directory. A file that cannot be used is an
// error, which names the file.
func OpenDir(path string) (*Dir, error) {
	d := &Dir{path: path, files: map[string]*dirFile{}, done: make(chan struct{}), reloads: make(chan chan []FileReport)}
	reports := d.look(true)
	for _, r := range reports {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	return d, nil
}

// Find returns the description of a device: the one of its id, or else the one of
// its type; nil for none. Any goroutine may call Find.
func (d *Dir) Find(device, typ string) *Described {
	current := *d.current.Load()
	if found := current[device]; found != nil {
		return found
	}
	return current[typ]
}

// Len returns the number of descriptions in force.
func (d *Dir) Len() int { return len(*d.current.Load()) }

// Watch starts the goroutine that looks for changes. changed is called after the
// descriptions in force have changed, report for each file that was read again and
// for each new failure; both on the goroutine. Watch does nothing after Close.
func (d *Dir) Watch(changed func(), report func(FileReport)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil || d.closed {
		return
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	go d.watch(ctx, changed, report)
}

func (d *Dir) watch(ctx context.Context, changed func(), report func(FileReport)) {
	defer close(d.done)
	ticker := time.NewTicker(dirInterval)
	defer ticker.Stop()
	for {
		var reports []FileReport
		var answer chan []FileReport
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			reports = d.look(false)
		case answer = <-d.reloads:
			reports = d.look(true)
		}
		if slices.ContainsFunc(reports, func(r FileReport) bool { return r.Changed }) {
			changed()
		}
		for _, r := range reports {
			report(r)
		}
		if answer != nil {
			answer <- reports
		}
	}
}

// Reload reads all files at once, changed or not, and returns a report of each.
// Reload does nothing before Watch and after Close.
func (d *Dir) Reload() []FileReport {
	d.mu.Lock()
	watching := d.cancel != nil
	d.mu.Unlock()
	if !watching {
		return nil
	}
	answer := make(chan []FileReport, 1)
	select {
	case d.reloads <- answer:
		return <-answer
	case <-d.done:
		return nil
	}
}

// Close ends the watching goroutine and waits for it. Close may be called again.
func (d *Dir) Close() {
	d.mu.Lock()
	cancel := d.cancel
	d.closed = true
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-d.done
	}
}

// look reads the files that have changed since the last look, or all files, and
// puts the descriptions in force.
func (d *Dir) look(all bool) (reports []FileReport) {
	names, err := d.names()
	if err != nil {
		return d.failed("", err, all)
	}
	d.current.CompareAndSwap(nil, &map[string]*Described{})
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
		if r := d.lookAt(name, all); r != nil {
			reports = append(reports, *r)
		}
	}
	for name, f := range d.files {
		switch {
		case there[name]:
			f.missing = false
		case name == "": // of the directory
			delete(d.files, name)
		case !f.missing && !all: // perhaps it is being replaced
			f.missing = true
		default:
			delete(d.files, name)
			if f.described != nil {
				reports = append(reports, FileReport{Path: d.file(name), Changed: true})
			}
		}
	}
	current := make(map[string]*Described, len(d.files))
	for name, f := range d.files {
		if f.described != nil {
			current[name] = f.described
		}
	}
	d.current.Store(&current)
	return reports
}

// names lists the names of the files, without .json.
func (d *Dir) names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name, json := strings.CutSuffix(entry.Name(), fileSuffix)
		if json && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	if len(names) > maxDirFiles {
		return nil, fmt.Errorf("%s: %d descriptions, at most %d allowed; put fewer into it", d.path, len(names), maxDirFiles)
	}
	return names, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name+fileSuffix) }

// lookAt reads a file when it has changed; nil when there is nothing to report.
func (d *Dir) lookAt(name string, always bool) *FileReport {
	f := d.files[name]
	if f == nil {
		f = &dirFile{}
		d.files[name] = f
	}
	stamp, err := filestamp.Stat(d.file(name))
	if err != nil {
		return first(d.failed(name, err, always))
	}
	settled := stamp == f.seen
	f.seen = stamp
	if !always && (!settled || stamp == f.stamp && !f.racy) {
		return nil
	}
	changed, err := d.read(name, f)
	if err != nil {
		return first(d.failed(name, err, always))
	}
	if changed || always {
		f.reported = ""
		return &FileReport{Path: d.file(name), Version: f.described.Version, Changed: changed}
	}
	return nil
}

// read reads a file, and reports whether its description has changed.
func (d *Dir) read(name string, f *dirFile) (changed bool, err error) {
	text, stamp, err := filestamp.Read(d.file(name), description.MaxSize+1024) // white space around it
	if err != nil {
		return false, err
	}
	f.stamp, f.racy = stamp, stamp.Racy()
	sum := sha256.Sum256(text)
	if sum == f.sum && f.reported == "" {
		return false, nil
	}
	f.sum = sum
	described, err := Parse(trimFile(text))
	if err != nil {
		return false, fmt.Errorf("%s: %w", d.file(name), err)
	}
	weight := described.Weight()
	for other, known := range d.files {
		if other != name && known.described != nil {
			weight += known.described.Weight()
		}
	}
	if weight > maxDirWeight {
		return false, fmt.Errorf("%s: all descriptions together take %d bytes of memory, at most %d allowed; use fewer or shorter ones", d.file(name), weight, maxDirWeight)
	}
	changed = f.described == nil || f.described.Version != described.Version
	f.described = described
	return changed, nil
}

// trimFile removes the byte-order mark that some editors write.
func trimFile(text []byte) []byte { return []byte(strings.TrimPrefix(string(text), "\xef\xbb\xbf")) }

// failed returns a report of a failure, unless the same one was reported last. The
// name "" stands for the directory.
func (d *Dir) failed(name string, err error, always bool) []FileReport {
	if errors.Is(err, filestamp.ErrChanging) && !always {
		return nil // the next look reads the file
	}
	f := d.files[name]
	if f == nil {
		f = &dirFile{}
		d.files[name] = f
	}
	if f.reported == err.Error() && !always {
		return nil
	}
	f.reported = err.Error()
	path := d.path
	if name != "" {
		path = d.file(name)
	}
	version := ""
	if f.described != nil {
		version = f.described.Version
	}
	return []FileReport{{Path: path, Version: version, Err: fmt.Errorf("--descriptions: %w", err)}}
}

func first(reports []FileReport) *FileReport {
	if len(reports) == 0 {
		return nil
	}
	return &reports[0]
}
