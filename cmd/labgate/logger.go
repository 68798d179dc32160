package main

import (
	"io"
	"time"

	"github.com/rs/zerolog"
)

// newLogger returns a logger that writes readable text to a terminal, and JSON
// lines otherwise.
func newLogger(w io.Writer, level string, asJSON bool) zerolog.Logger {
	if isTerminal(w) && !asJSON {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
	}
	lvl, err := zerolog.ParseLevel(level)
	if err != nil {
		lvl = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(lvl).With().Timestamp().Logger()
}
