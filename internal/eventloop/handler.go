package eventloop

import (
	"net"
	"net/http"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Admission decides which connections are let in, and counts them. Its methods
// are called on any goroutine and do not block.
type Admission interface {
	// ConnectionAccepted decides about a connection that was just accepted. A
	// nil refusal lets it in, otherwise the refusal is sent and the connection
	// closed.
	ConnectionAccepted(remote net.Addr) (refusal *httpresponse.Buffer)
	// ConnectionEnded is called once for each connection that was let in.
	ConnectionEnded(remote net.Addr)
	// RequestRefused is called for each request that net/http could not read.
	RequestRefused(code protocol.ErrorCode)
}

// Handler serves what arrives on connections that were let in. A panic of its
// methods ends that one connection or request.
type Handler interface {
	// ServeHTTP serves a request whose path is not below WebSocketPath, on a
	// goroutine that may wait. The body has not been read; reading it fails with
	// os.ErrDeadlineExceeded when it does not come within HandshakeTimeout. When
	// it is not read to its end the connection ends behind the answer. The
	// request's context ends when the client ends its side of the connection.
	http.Handler
	// Handshake decides about a request for a WebSocket. It returns nil when it
	// has written a refusal. It may run on a poller and must not block.
	Handshake(w http.ResponseWriter, r *http.Request) *Upgrade
}

// WebSocketPath is what the paths of all WebSockets begin with.
const WebSocketPath = "/ws/"

// Upgrade is an accepted handshake.
type Upgrade struct {
	// Subprotocol is what the answer names; empty: none.
	Subprotocol string
	// MaxMessage is the largest message that the peer may send, in bytes.
	MaxMessage int
	// HoldBack, when it is not nil, reports whether nothing more is to be read
	// from a session for now. A session that stays held back for WriteTimeout
	// without taking anything is closed with 4004. It is asked before each read
	// on a poller; in the blocking modes the message handler may block instead.
	HoldBack func(*session.Session) bool
	// Sessions makes the session.
	Sessions SessionMaker
}

// SessionMaker makes the session of one accepted handshake.
type SessionMaker interface {
	// Connected makes a session of the upgraded connection; blocking says that
	// writing to the transport blocks. When there is to be no session it returns
	// the close code to end the connection with.
	Connected(t session.Transport, blocking bool) (*session.Session, protocol.CloseCode)
	// Failed is called in place of Connected, or when Connected has panicked:
	// err says why the connection could not be upgraded, nil after a panic.
	Failed(err error)
}
