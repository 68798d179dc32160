package main

import (
	"bytes"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/logwriter"
)

// logFlushTime is how long the end of the gateway waits for the reader of its
// log.
const logFlushTime = time.Second

// boundLog puts a queue in front of the gateway's standard error, so that its
// reader cannot hold up the gateway. The caller closes it at the end.
func boundLog(stderr io.Writer, asJSON bool) *logwriter.Writer {
	return logwriter.New(stderr, logwriter.DefaultLimit, func(lines uint64) []byte {
		// Logged whatever --log-level says, in the form of all other lines.
		line := lineBuffer{behind: stderr}
		log := newLogger(&line, zerolog.LevelWarnValue, asJSON)
		log.Warn().Uint64("lines", lines).Msg("log lines are missing here: the reader of the log was too slow, or away")
		return line.Bytes()
	})
}

// lineBuffer takes a line that is meant for another writer.
type lineBuffer struct {
	bytes.Buffer
	behind io.Writer
}

// Unwrap returns the writer that the line is meant for.
func (b *lineBuffer) Unwrap() io.Writer { return b.behind }
