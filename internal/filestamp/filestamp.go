// Package filestamp tells versions of a file apart, for programs that read files
// again when the files change.
package filestamp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Stamp identifies a version of a file without reading it. Two versions with
// equal stamps are the same unless both were written within RacyAge.
type Stamp struct {
	Modified time.Time
	Size     int64
	Inode    uint64
}

// RacyAge is how old a file's last change must be before the time of a later
// change is certain to differ: some file systems count in steps of two seconds.
const RacyAge = 2 * time.Second

// Racy reports whether the file may change again without its stamp showing that.
func (s Stamp) Racy() bool {
	age := time.Since(s.Modified)
	return age > -RacyAge && age < RacyAge
}

// ErrChanging reports that a file was written to while it was read.
var ErrChanging = errors.New("is being written to; replace it in one step: write another file and rename it")

// Stat returns the stamp of a regular file.
func Stat(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return stampOf(path, info)
}

// Read returns the content and the stamp of a regular file of at most limit bytes.
// The error is ErrChanging if the file changed during the read.
func Read(path string, limit int) ([]byte, Stamp, error) {
	// Opening a pipe waits for its writer; Stat refuses a pipe before that.
	if _, err := Stat(path); err != nil {
		return nil, Stamp{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer file.Close()
	before, err := fstat(path, file)
	if err != nil {
		return nil, Stamp{}, err
	}
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, Stamp{}, err
	}
	if len(data) > limit {
		return nil, before, fmt.Errorf("%s: more than %d bytes, at most that many allowed; is this the right file?", path, limit)
	}
	after, err := fstat(path, file)
	if err == nil && after != before {
		err = fmt.Errorf("%s: %w", path, ErrChanging)
	}
	return data, after, err
}

func fstat(path string, file *os.File) (Stamp, error) {
	info, err := file.Stat()
	if err != nil {
		return Stamp{}, err
	}
	return stampOf(path, info)
}

func stampOf(path string, info os.FileInfo) (Stamp, error) {
	if !info.Mode().IsRegular() {
		return Stamp{}, fmt.Errorf("%s: is not a regular file; a pipe or a folder cannot be read again when it changes", path)
	}
	s := Stamp{Modified: info.ModTime(), Size: info.Size()}
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = system.Ino
	}
	return s, nil
}
