package server

import (
	"net/http"
	"strings"
	"sync"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/rs/zerolog"
)

// newEngine configures nbio for the gateway. Each setting that departs from
// nbio's default says why.
func (s *Server) newEngine() *nbhttp.Engine {
	prepareNbio()
	o := &s.opts
	conf := nbhttp.Config{
		Name:    "labgate",
		NPoller: o.Pollers,
		// Small buffers stay in the cache; the kernel holds what does not fit.
		ReadBufferSize:         o.ReadBuffer,
		BlockingReadBufferSize: o.ReadBuffer,
		// With fewer reads for one event, a peer that writes and closes at once
		// would lose the tail of what it wrote.
		MaxConnReadTimesPerEventLoop: 1 << 30,
		// Our own bounds come first: this one is out of their reach, and only
		// keeps a mistake of ours from taking all the memory. nbio closes the
		// connection beyond it.
		MaxWriteBufferSize: 2*(o.InflightBytes+o.ControlBytes+o.TelemetryBytes+o.MaxMessage) + 64<<20,
		MaxLoad:            o.MaxConnections + 1024,
		// The read deadline from accept on, until the handshake is done or the
		// next request of a kept connection comes.
		KeepaliveTime: o.HandshakeTimeout,
		// HTTP only: WebSocket bytes go to a reader of ours.
		ReadLimit:       maxHTTPHeader + o.MaxMessage + o.ReadBuffer,
		MaxHTTPBodySize: o.MaxMessage + 1,
		// Handlers of the HTTP API may wait, so they leave the poller; a
		// handshake does not (see onRequest).
		ServerExecutor:          func(f func()) { go f() },
		SupportServerOnly:       true,
		ReleaseWebsocketPayload: true,
		MaxBlockingOnline:       o.MixedThreshold,
		Handler:                 s.handler,
		OnRequest:               onRequest,
		Listen:                  s.listen,
	}
	switch o.IOMode {
	case IOBlocking:
		conf.IOMod = nbhttp.IOModBlocking
	case IOMixed:
		conf.IOMod = nbhttp.IOModMixed
	default:
		conf.IOMod = nbhttp.IOModNonBlocking
	}
	listener := nbhttp.ConfAddr{Network: "tcp", Addr: o.Listen, NListener: o.Listeners}
	switch {
	case s.llibTLS != nil:
		listener.TLSConfig = s.llibTLS
		conf.AddrConfigsTLS = []nbhttp.ConfAddr{listener}
	case s.stdTLS == nil:
		conf.AddrConfigs = []nbhttp.ConfAddr{listener}
	}
	e := nbhttp.NewEngine(conf)
	e.Engine.OnWrittenSize(func(c *nbio.Conn, _ []byte, n int) {
		if p, ok := c.Session().(*pollerConn); ok {
			p.written(n)
		}
	})
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

// maxHTTPHeader bounds what nbio keeps of a request that is not complete.
const maxHTTPHeader = 16 << 10

// onRequest keeps handshakes on the poller, so that no byte of the new
// WebSocket can be read before our reader is in its place.
func onRequest(w http.ResponseWriter, r *http.Request) {
	res, ok := w.(*nbhttp.Response)
	if !ok || !strings.HasPrefix(r.URL.Path, "/ws/") {
		return
	}
	res.Parser.Execute = nbhttp.SyncExecutor
	// A refused handshake ends the connection, so that this executor never
	// serves a handler that waits.
	r.Close = true
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

// Error logs at error level, but for what a closing listener and an ending
// peer cause.
func (l engineLogger) Error(format string, v ...any) {
	if strings.HasPrefix(format, "Accept failed") {
		l.log.Debug().Msgf(format, v...)
		return
	}
	l.log.Error().Msgf(format, v...)
}
