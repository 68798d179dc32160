package gatewaytest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Labgate returns the path of the shipped command, built from this tree. All
// test packages share one build.
func Labgate(t testing.TB) string {
	t.Helper()
	return Binary(t, "./cmd/labgate")
}

// Root returns the directory of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Binary returns the path of a command of this repository, built from this tree
// as make build does, but with symbols and without a version; pkg is relative to
// the repository, such as ./bench/limit.
//
// The build is kept in the user's cache directory under a hash of its inputs.
// A lock file makes the processes of other test packages wait for the build
// instead of repeating it.
func Binary(t testing.TB, pkg string) string {
	t.Helper()
	built, _ := binaries.LoadOrStore(pkg, sync.OnceValues(func() (string, error) { return build(pkg) }))
	path, err := built.(func() (string, error))()
	if err != nil {
		t.Fatalf("building %s: %v", pkg, err)
	}
	return path
}

// binaries holds, by package, the function that builds it once.
var binaries sync.Map

var root = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
})

// build returns the kept build of a package, and makes one if there is none.
// The build is in use, and is not removed, until this process ends.
func build(pkg string) (string, error) {
	key, err := contentKey(pkg)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "labgate-test")
	dir := filepath.Join(cache, key)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	mutex, err := lock(filepath.Join(cache, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer mutex.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	use, err := lock(dir, syscall.LOCK_SH)
	if err != nil {
		return "", err
	}
	inUse.Store(dir, use)
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(pkg))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	prune(cache)
	// The file is renamed when complete, so an interrupted build is never
	// used.
	if err := goCommand("build", "-trimpath", "-buildvcs=false", tags, "-o", path+".new", pkg).run(); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

// inUse keeps the locked files open that mark builds as in use.
var inUse sync.Map

// tags are the build tags of the Makefile.
const tags = "-tags=nethttpomithttp2"

// contentKey hashes the inputs of a package's binary: the build IDs of all its
// packages, which depend on their sources, embedded files, flags and compiler.
func contentKey(pkg string) (string, error) {
	list := goCommand("list", "-trimpath", "-buildvcs=false", tags, "-deps", "-export", "-f", "{{.ImportPath}} {{.BuildID}}", pkg)
	if err := list.run(); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(runtime.Version() + pkg + list.stdout.String()))
	return hex.EncodeToString(sum[:12]), nil
}

// kept is how long an unused build is kept.
const kept = time.Hour

// prune removes builds that have not been used for a while. The caller holds
// the cache's lock.
func prune(cache string) {
	builds, _ := filepath.Glob(filepath.Join(cache, "*"))
	for _, dir := range builds {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || time.Since(info.ModTime()) < kept {
			continue
		}
		if unused, err := lock(dir, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			_ = os.RemoveAll(dir)
			_ = unused.Close()
		}
	}
}

// lock locks a file, which it creates if needed, or a directory. Closing the
// returned file releases the lock; the kernel does so for a process that has
// died.
func lock(name string, how int) (*os.File, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	}
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
	}
}

// command is an invocation of the go command in the repository.
type command struct {
	cmd            *exec.Cmd
	stdout, stderr strings.Builder
}

func goCommand(args ...string) *command {
	c := &command{cmd: exec.Command("go", args...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	// As make build does.
	c.cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return c
}

func (c *command) run() error {
	dir, err := root()
	if err != nil {
		return err
	}
	c.cmd.Dir = dir
	if err := c.cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.cmd.Args, " "), err, c.stderr.String())
	}
	return nil
}
