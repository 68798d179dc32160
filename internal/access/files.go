package access

import "github.com/labgate/labgate/internal/filestamp"

// stamp identifies a version of a file.
type stamp = filestamp.Stamp

// files is the part of a file system that the Store uses.
type files interface {
	// stat returns the stamp of a regular file.
	stat(path string) (stamp, error)
	// read returns the content and the stamp of a file of at most limit bytes.
	// The error is filestamp.ErrChanging if the file changed during the read.
	read(path string, limit int) ([]byte, stamp, error)
}

// osFiles is the file system of the machine.
type osFiles struct{}

func (osFiles) stat(path string) (stamp, error) { return filestamp.Stat(path) }

func (osFiles) read(path string, limit int) ([]byte, stamp, error) {
	return filestamp.Read(path, limit)
}
