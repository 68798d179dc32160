package router

import "github.com/labgate/labgate/session"

// deviceConn is the router's state of one device's session. It is the sender of
// the device's messages (sender.go).
type deviceConn struct {
	sessionSender
	// dev is static.
	dev *device
	// telemetry is owned by the reading goroutine.
	telemetry deviceTelemetry
	// raised says that this connection has kept its device with a greater epoch
	// once already; guarded by registry.mu.
	raised bool
	// pending holds the commands that wait for the device's answers; it has a
	// lock of its own.
	pending pendingTable
}

func newDeviceConn(r *Router, s *session.Session, d *device) *deviceConn {
	return &deviceConn{
		sessionSender: sessionSender{r, s}, dev: d,
		pending: pendingTable{limit: maxDevicePending, target: "device " + d.id},
	}
}
