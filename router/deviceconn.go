package router

import "github.com/labgate/labgate/session"

// deviceConn is the router's state of one device's session. It implements
// sender (sender.go).
type deviceConn struct {
	sessionSender
	// dev is static.
	dev *device
	// telemetry is owned by the reading goroutine.
	telemetry deviceTelemetry
	// raised: this connection has raised its epoch once to keep the device;
	// guarded by registry.mu.
	raised bool
	// pending holds the commands that wait for the device's answers. It has
	// its own lock.
	pending pendingTable
}

func newDeviceConn(r *Router, s *session.Session, d *device) *deviceConn {
	return &deviceConn{
		sessionSender: sessionSender{r, s}, dev: d,
		pending: pendingTable{limit: maxDevicePending, target: "device " + d.id},
	}
}
