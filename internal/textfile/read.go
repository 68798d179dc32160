package textfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// pipeTimeout bounds the time to read a pipe. Without a bound a pipe that nobody
// writes to would keep the program from starting, and from ending.
var pipeTimeout = 10 * time.Second

// pipePoll is the time between two looks at a pipe that has no writer yet.
const pipePoll = 20 * time.Millisecond

// Read returns the content of a text file of at most limit bytes, as Decode does. A
// pipe must be written and closed within 10 s. Errors begin with the path.
func Read(path string, limit int) ([]byte, error) {
	data, err := read(path, limit)
	if err == nil {
		data, err = Decode(data)
	}
	if _, named := errors.AsType[*os.PathError](err); err != nil && !named {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return data, err
}

func read(path string, limit int) ([]byte, error) {
	// Without O_NONBLOCK, opening a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(pipeTimeout)
	pipe := info.Mode()&os.ModeNamedPipe != 0
	if pipe {
		if err := f.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	for pipe && err == nil && len(data) == 0 && time.Now().Before(deadline) {
		time.Sleep(pipePoll)
		data, err = io.ReadAll(io.LimitReader(f, int64(limit)+1))
	}
	switch {
	case len(data) > limit:
		return nil, fmt.Errorf("larger than %d bytes, at most that many allowed; is this the right file?", limit)
	case errors.Is(err, os.ErrDeadlineExceeded), pipe && err == nil && len(data) == 0:
		return nil, fmt.Errorf("is a pipe that was not written and closed within %v; use a file, or start its writer first", pipeTimeout)
	}
	return data, err
}
