// Package eventlog writes what happens in the gateway as log lines.
package eventlog

import (
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/events"
)

// The lines of one kind of event are bounded, so that neither a crowd of clients
// nor a stranger fills the disk: a line has about 300 bytes.
const (
	// perSecond is how many lines of one kind there are a second in the long run.
	perSecond = 10
	// burst is how many there may be at once.
	burst = 200
)

// Log is an [events.Listener] that writes lines at level info, and errors at
// level error. Lines beyond the rate of their kind are counted; the next line of
// that kind says in the field suppressed how many there were.
type Log struct {
	log   zerolog.Logger
	start time.Time

	sessionBegan, sessionEnded, connectionRefused, handshakeRefused, requestRefused, commandEnded *limiter
}

// New returns a Log that writes to the logger, or nil if the logger takes no
// line at level info or error.
func New(log zerolog.Logger) events.Listener {
	if log.GetLevel() > zerolog.ErrorLevel {
		return nil
	}
	if log.GetLevel() > zerolog.InfoLevel {
		return errorsOnly{log: log}
	}
	limit := func() *limiter { return newLimiter(perSecond, burst) }
	return &Log{
		log: log, start: time.Now(),
		sessionBegan: limit(), sessionEnded: limit(), commandEnded: limit(),
		connectionRefused: limit(), handshakeRefused: limit(), requestRefused: limit(),
	}
}

// SessionBegan implements [events.Listener].
func (l *Log) SessionBegan(e events.SessionBegan) {
	if line := l.line(l.sessionBegan); line != nil {
		session(line, &e).Msg("session began")
	}
}

// SessionEnded implements [events.Listener].
func (l *Log) SessionEnded(e events.SessionEnded) {
	if line := l.line(l.sessionEnded); line != nil {
		line = session(line, &e.SessionBegan).Str("reason", e.Reason).Int("code", e.Code)
		optional(line, "detail", e.Detail)
		duration(line, e.Duration).Msg("session ended")
	}
}

// ConnectionRefused implements [events.Listener].
func (l *Log) ConnectionRefused(e events.ConnectionRefused) {
	if line := l.line(l.connectionRefused); line != nil {
		line.Str("remote", e.Remote).Int("status", e.Status).Str("reason", e.Reason).Msg("connection refused")
	}
}

// HandshakeRefused implements [events.Listener].
func (l *Log) HandshakeRefused(e events.HandshakeRefused) {
	if line := l.line(l.handshakeRefused); line != nil {
		line.Str("remote", e.Remote).Str("path", e.Path).Int("status", e.Status)
		optional(line, "origin", e.Origin)
		optional(line, "credential", e.Credential)
		line.Str("reason", e.Reason).Msg("handshake refused")
	}
}

// RequestRefused implements [events.Listener].
func (l *Log) RequestRefused(e events.RequestRefused) {
	if line := l.line(l.requestRefused); line != nil {
		line.Str("remote", e.Remote).Str("method", e.Method).Str("path", e.Path).Int("status", e.Status)
		optional(line, "credential", e.Credential)
		line.Str("reason", e.Reason).Msg("request refused")
	}
}

// CommandBegan implements [events.Listener]: the line of a command's end says
// everything.
func (l *Log) CommandBegan(events.Command) {}

// CommandEnded implements [events.Listener].
func (l *Log) CommandEnded(e events.CommandEnded) {
	line := l.line(l.commandEnded)
	if line == nil {
		return
	}
	line.Str("type", e.Type).Str("id", e.ID).Str("device", e.Device).Str("src", e.Source)
	if e.Session != uuid.Nil {
		line.Stringer("session", e.Session)
	}
	optional(line, "remote", e.Remote)
	optional(line, "credential", e.Credential)
	optional(line, "src_node", e.Node)
	if e.Urgent {
		line.Bool("urgent", true)
	}
	duration(line.Str("outcome", e.Outcome), e.Duration).Msg("command ended")
}

// FileRead implements [events.Listener]. The rate is not bounded: a file is read
// at most twice a second.
func (l *Log) FileRead(e events.FileRead) {
	if e.Err != nil {
		fileFailed(&l.log, e)
		return
	}
	line := l.log.Info().Str("option", e.Option).Str("file", e.Path).Bool("changed", e.Changed)
	switch {
	case e.Removed:
		line.Msg("file was removed, and what it held is no longer in force")
		return
	case e.Version != "":
		line.Str("version", e.Version)
	case e.NotAfter.IsZero():
		line.Int("credentials", e.Credentials)
	default:
		line.Time("not_after", e.NotAfter)
	}
	line.Msg("file was read again and is in force")
}

// errorsOnly writes what a logger above level info takes.
type errorsOnly struct {
	events.Nop
	log zerolog.Logger
}

// FileRead implements [events.Listener].
func (l errorsOnly) FileRead(e events.FileRead) {
	if e.Err != nil {
		fileFailed(&l.log, e)
	}
}

func fileFailed(log *zerolog.Logger, e events.FileRead) {
	line := log.Error().Err(e.Err)
	optional(line, "option", e.Option)
	optional(line, "file", e.Path)
	if !e.NotAfter.IsZero() {
		line.Time("not_after", e.NotAfter)
	}
	line.Msg("file was read again and cannot be used; what it held before stays in force")
}

// line returns a line of a kind, or nil for one too many.
func (l *Log) line(kind *limiter) *zerolog.Event {
	suppressed, ok := kind.take(time.Since(l.start))
	if !ok {
		return nil
	}
	line := l.log.Info()
	if suppressed > 0 {
		line.Uint64("suppressed", suppressed)
	}
	return line
}

func session(line *zerolog.Event, e *events.SessionBegan) *zerolog.Event {
	line.Stringer("session", e.Session).Str("role", e.Role).Str("name", e.Name).Str("remote", e.Remote)
	optional(line, "credential", e.Credential)
	return line
}

// optional adds a field that has a value.
func optional(line *zerolog.Event, field, value string) {
	if value != "" {
		line.Str(field, value)
	}
}

// duration adds a duration in milliseconds, to the microsecond.
func duration(line *zerolog.Event, d time.Duration) *zerolog.Event {
	return line.Float64("duration_ms", float64(d.Microseconds())/1000)
}
