package eventloop

import (
	"net"
	"net/http"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

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

// newBlockingTransport makes a session of an upgraded connection that has a
// reading goroutine. It returns nil when there is to be no session; the caller
// closes the connection.
func (l *Loop) newBlockingTransport(ws *websocket.Conn, conn net.Conn, up *Upgrade) *blockingTransport {
	c := &blockingTransport{loop: l, ws: ws, conn: conn}
	c.reader.frames.Init(up.MaxMessage, false)
	sess, code := up.Sessions.Connected(c, true)
	if sess == nil {
		refuseSession(ws, code)
		return nil
	}
	ws.SetSession(sess)
	return c
}

// refuseSession closes an upgraded connection that gets no session.
func refuseSession(ws *websocket.Conn, code protocol.CloseCode) {
	_, _ = ws.Conn.Write(wsframe.AppendClose(nil, uint16(code), code.Name()))
	_ = ws.Close()
}
