package main

import (
	"bytes"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/logwriter"
)

// logFlushTime is how long the gateway waits at its end for the reader of the
// log.
const logFlushTime = time.Second

// boundLog puts a queue before the gateway's standard error, so that a slow
// reader cannot delay the gateway. The caller closes the queue at the end.
func boundLog(stderr io.Writer, asJSON bool) *logwriter.Writer {
	return logwriter.New(stderr, logwriter.DefaultLimit, func(lines uint64) []byte {
		// Logged at every --log-level, in the format of all other lines.
		line := lineBuffer{behind: stderr}
		log := newLogger(&line, zerolog.LevelWarnValue, asJSON)
		log.Warn().Uint64("lines", lines).Msg("log lines are missing here: the reader of the log was too slow, or away")
		return line.Bytes()
	})
}

// lineBuffer collects a line for another writer.
type lineBuffer struct {
	bytes.Buffer
	behind io.Writer
}

// Unwrap returns the writer that gets the line.
func (b *lineBuffer) Unwrap() io.Writer { return b.behind }
