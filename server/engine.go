package server

import (
	"net/http"
	"sync"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/rs/zerolog"
)

// newEngine configures nbio for the gateway: it reads and writes, accept gives
// it the connections. Each setting that departs from nbio's default says why.
func (s *Server) newEngine() *nbhttp.Engine {
	prepareNbio()
	o := &s.opts
	e := nbhttp.NewEngine(nbhttp.Config{
		Name:    "labgate",
		NPoller: o.Pollers,
		// Small buffers stay in the cache; the kernel holds what does not fit.
		ReadBufferSize: o.ReadBuffer,
		// Our own bounds come first: this one is out of their reach, and only
		// keeps a mistake of ours from taking all the memory. nbio closes the
		// connection beyond it.
		MaxWriteBufferSize: 2*(o.InflightBytes+o.ControlBytes+o.TelemetryBytes+max(o.MaxMessage, o.maxEcho)) + 64<<20,
		// What the parser may keep of a request; httpConn has stricter limits.
		ReadLimit:       maxHTTPHeader + o.MaxMessage + o.ReadBuffer,
		MaxHTTPBodySize: o.MaxMessage,
		// Handlers of the HTTP API may wait, so they leave the poller; a
		// handshake does not (see onRequest).
		ServerExecutor:          func(f func()) { go f() },
		SupportServerOnly:       true,
		ReleaseWebsocketPayload: true,
		Handler:                 s.handler,
		OnRequest:               onRequest,
	})
	e.Engine.OnWrittenSize(func(c *nbio.Conn, _ []byte, n int) {
		switch conn := c.Session().(type) {
		case *pollerConn:
			conn.written(n)
		case *nbhttp.Parser:
			conn.Processor.(*httpConn).written(n)
		}
	})
	e.Engine.OnClose(s.pollerClosed)
	e.Engine.OnRead(func(c *nbio.Conn) { s.turns.read(c, e.PollerBuffer(c)) })
	return e
}

// newUpgrader returns the one Upgrader that all handshakes use. Origin and
// sub-protocol were checked before it is asked.
func newUpgrader(e *nbhttp.Engine) *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.Engine = e
	// Silence is the session's business: a timer for each connection, reset by
	// each message, would cost more than the messages.
	u.KeepaliveTime = 0
	u.CheckOrigin = func(*http.Request) bool { return true }
	u.BlockingModAsyncWrite = false
	u.BlockingModHandleRead = false
	u.BlockingModTrasferConnToPoller = false
	return u
}

var nbioOnce sync.Once

// prepareNbio sets nbio's package-wide variables once: pools that do not keep
// giants, and a table of connections no longer than descriptors there can be.
func prepareNbio() {
	nbioOnce.Do(func() {
		mempool.DefaultMemPool = mempool.New(256, 64<<10)
		if n, err := descriptorLimit(); err == nil && n < nbio.MaxOpenFiles {
			nbio.MaxOpenFiles = n
		}
	})
}

// SetEngineLogger sends the log of the event loop, which is one for the whole
// process, to a logger. Call it before the first Server is made.
func SetEngineLogger(log zerolog.Logger) {
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
