package eventloop

import (
	"github.com/lesismal/nbio/logging"
	"github.com/rs/zerolog"
)

// SetLogger sends the log of nbio, which is one for the whole
// process, to a logger. Call it before the first Loop is started.
func SetLogger(log zerolog.Logger) {
	logging.SetLogger(engineLogger{log})
}

// engineLogger adapts nbio's log. What nbio calls Info is detail to us.
type engineLogger struct{ log zerolog.Logger }

// Debug drops nbio's debug messages: it formats them for each connection.
func (l engineLogger) Debug(string, ...any) {}

// Info logs at debug level.
func (l engineLogger) Info(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Warn logs at warn level.
func (l engineLogger) Warn(format string, v ...any) { l.log.Warn().Msgf(format, v...) }

// Error logs at error level.
func (l engineLogger) Error(format string, v ...any) { l.log.Error().Msgf(format, v...) }
