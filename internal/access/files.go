package access

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// stamp identifies a version of a file without reading it. Two versions with
// equal stamps are the same unless both were written within racyAge.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// files is the part of a file system that the Store uses.
type files interface {
	// stat returns the stamp of a regular file.
	stat(path string) (stamp, error)
	// read returns the content and the stamp of a file of at most limit bytes.
	// The error is errChanging if the file changed during the read.
	read(path string, limit int) ([]byte, stamp, error)
}

// errChanging reports that a file was written to while it was read.
var errChanging = errors.New("is being written to; replace it in one step: write another file and rename it")

// osFiles is the file system of the machine.
type osFiles struct{}

func (osFiles) stat(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stampOf(path, info)
}

func (f osFiles) read(path string, limit int) ([]byte, stamp, error) {
	// Opening a pipe waits for its writer; stat refuses a pipe before that.
	if _, err := f.stat(path); err != nil {
		return nil, stamp{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	before, err := fstat(path, file)
	if err != nil {
		return nil, stamp{}, err
	}
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, stamp{}, err
	}
	if len(data) > limit {
		return nil, before, fmt.Errorf("%s: more than %d bytes, at most that many allowed; is this the right file?", path, limit)
	}
	after, err := fstat(path, file)
	if err == nil && after != before {
		err = fmt.Errorf("%s: %w", path, errChanging)
	}
	return data, after, err
}

func fstat(path string, file *os.File) (stamp, error) {
	info, err := file.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stampOf(path, info)
}

func stampOf(path string, info os.FileInfo) (stamp, error) {
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s: is not a regular file; a pipe or a folder cannot be read again when it changes", path)
	}
	s := stamp{modified: info.ModTime(), size: info.Size()}
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = system.Ino
	}
	return s, nil
}
