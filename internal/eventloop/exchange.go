package eventloop

import (
	"net/http"
	"strings"

	"github.com/lesismal/nbio/nbhttp"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// exchange is one request and how its answer gets to the peer. There is one kind
// for each parser of requests: nbio's and the standard library's.
type exchange interface {
	// begin returns the request as the Handler gets it, with its body read.
	begin() (*http.Request, error)
	// respond sends the whole response and ends the exchange. The connection is
	// closed behind it when the request's Close is set.
	respond(response *httpresponse.Buffer)
	// upgrade makes a session of the request's connection.
	upgrade(header http.Header, up *Upgrade)
	// abort closes the connection without an answer.
	abort()
}

// serveRequest serves every request of the public listener. A handshake runs on
// the connection's reading goroutine.
func (l *Loop) serveRequest(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	defer l.requests.Add(-1)
	var x exchange
	if res, ok := w.(*nbhttp.Response); ok {
		x = &nbioExchange{res.Parser.Processor.(*httpConn), res, r}
	} else {
		x = &stdExchange{l, w, r}
	}
	if strings.HasPrefix(r.URL.Path, WebSocketPath) {
		l.serveHandshake(x, r)
	} else {
		l.serveHTTP(x, r)
	}
}

// serveHTTP serves a request that is not for a WebSocket.
func (l *Loop) serveHTTP(x exchange, r *http.Request) {
	var response httpresponse.Buffer
	if request, err := x.begin(); err != nil {
		r.Close = true
		httpresponse.WriteError(&response, http.StatusRequestTimeout, protocol.ErrBadMessage, "the body did not come in time")
	} else if !l.panics.Run(nil, func() { l.handler.ServeHTTP(&response, request) }) {
		response = httpresponse.Buffer{}
		httpresponse.WriteError(&response, http.StatusInternalServerError, protocol.ErrUnavailable, "internal error; the gateway's log says more")
	}
	x.respond(&response)
}

// serveHandshake makes a session of a request for a WebSocket, or sends the
// refusal.
func (l *Loop) serveHandshake(x exchange, r *http.Request) {
	var refusal httpresponse.Buffer
	var up *Upgrade
	if !l.panics.Run(nil, func() { up = l.handler.Handshake(&refusal, r) }) {
		x.abort()
		return
	}
	if up == nil {
		r.Close = true
		x.respond(&refusal)
		return
	}
	header := http.Header{}
	if up.Subprotocol != "" {
		header.Set("Sec-Websocket-Protocol", up.Subprotocol)
	}
	if !l.panics.Run(nil, func() { x.upgrade(header, up) }) {
		up.Sessions.Failed(nil)
		x.abort()
	}
}
