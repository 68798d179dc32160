package access

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/filestamp"
)

// content is what one file holds: credentials or keys.
type content struct {
	credentials []credential
	keys        []key
	ignored     ignoredKeys
}

func (c *content) len() int { return len(c.credentials) + len(c.keys) }

// watchedFile is one credential file and what the Store knows of it.
type watchedFile struct {
	option string // which the file was given with, for errors
	path   string
	holds  string // "token" or "key"
	limit  int    // bytes
	parse  func(data []byte) (content, error)

	content content           // in force
	stamp   stamp             // of the bytes read last, usable or not
	sum     [sha256.Size]byte // of the bytes read last
	err     error             // why the bytes read last cannot be used
	// racy is set when the file may have changed since it was read without its
	// stamp showing that.
	racy     bool
	reported string // the failure reported last
}

// look is the state of a file at one moment.
type look struct {
	stamp stamp
	err   error
}

func (f *watchedFile) look(fs files) look {
	st, err := fs.stat(f.path)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.option, err)
	}
	return look{st, err}
}

// load reads the file and reports whether its content was replaced. On an error
// the former content stays.
func (f *watchedFile) load(fs files) (replaced bool, err error) {
	data, st, err := fs.read(f.path, f.limit)
	if err != nil {
		f.forget()
		if !errors.Is(err, filestamp.ErrChanging) {
			f.stamp = st
		}
		return false, fmt.Errorf("%s: %w", f.option, err)
	}
	f.stamp = st
	f.racy = st.Racy()
	sum := sha256.Sum256(data)
	if sum == f.sum {
		return false, f.err
	}
	var c content
	if len(bytes.TrimSpace(data)) > 0 {
		c, err = f.parse(data)
	}
	if err == nil && c.len() == 0 {
		err = fmt.Errorf("holds no %s; add one (to revoke the last %s, put another in its place)", f.holds, f.holds)
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", f.option, f.path, err)
	}
	f.sum, f.err = sum, err
	if err != nil {
		return false, err
	}
	f.content = c
	return true, nil
}

// forget has the next poll read the file, whatever its stamp.
func (f *watchedFile) forget() {
	f.stamp, f.sum, f.racy, f.err = stamp{}, [sha256.Size]byte{}, false, nil
}

// fail calls Events.Failed unless err was the last failure reported.
func (f *watchedFile) fail(err error, e Events) {
	if f.reported == err.Error() {
		return
	}
	f.reported = err.Error()
	if e.Failed != nil {
		e.Failed(err)
	}
}

func (f *watchedFile) report(changed bool, err error) FileReport {
	return FileReport{
		Option: f.option, Path: f.path, Credentials: f.content.len(),
		Ignored: f.content.ignored.count, IgnoredReasons: f.content.ignored.String(),
		Changed: changed, Err: err,
	}
}
