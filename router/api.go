package router

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// SourceAPI is the src of messages that come through the HTTP API.
const SourceAPI = "api"

// Command sends a command to a device and waits for its answer, the envelope
// as a front end would receive it. It fails with an *Error (device_offline,
// device_disconnected, timeout, overloaded, bad_message) or with ctx's error;
// the command may have been carried out in the latter case.
func (r *Router) Command(ctx context.Context, deviceID string, msg protocol.Message) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	to := r.manager.ByDevice(deviceID)
	if to == nil {
		return nil, r.failure(protocol.ErrDeviceOffline, "device "+deviceID+" is not connected; the message was not delivered and will not be")
	}
	if msg.ID == "" {
		msg.ID = uuid.NewString()
	}
	msg.Src, msg.Dst = SourceAPI, deviceID
	// Before it is pending: the deadline is set from a field of the message.
	if _, err := msg.Append(nil); err != nil {
		return nil, r.failure(protocol.ErrBadMessage, err.Error())
	}
	answer := make(chan reply, 1)
	c := &command{r: r, link: to.Attachment().(*link), askedID: msg.ID, reply: answer}
	if err := c.enter(msg.TimeoutMS); err != nil {
		return nil, r.failure(err.Code, err.Message)
	}
	msg.ID = c.wireID
	if err := to.SendMessage(&msg, msg.Urgent); err != nil {
		if !c.leave() {
			rep := <-answer
			return rep.text, asError(rep.err)
		}
		return nil, r.failure(sendFailure(err, protocol.ErrDeviceOffline))
	}
	r.stats.Commands.Add(1)
	to.Flush()
	select {
	case rep := <-answer:
		return rep.text, asError(rep.err)
	case <-ctx.Done():
		if !c.leave() {
			rep := <-answer
			return rep.text, asError(rep.err)
		}
		return nil, ctx.Err()
	}
}

// Broadcast sends a message to every front end and returns how many were given
// it. The error is a *protocol.FieldError.
func (r *Router) Broadcast(msg protocol.Message) (int, error) {
	return r.sendFrom(msg, *r.everyone.Load())
}

// SendUser sends a message to every session of a user and returns how many
// were given it. The error is a *protocol.FieldError, or an *Error with
// not_found when the user has no session.
func (r *Router) SendUser(user string, msg protocol.Message) (int, error) {
	r.mu.Lock()
	to := r.users[user]
	r.mu.Unlock()
	n, err := r.sendFrom(msg, to)
	if err == nil && n == 0 {
		err = r.failure(protocol.ErrNotFound, "no session of user "+user+" is connected")
	}
	return n, err
}

func (r *Router) sendFrom(msg protocol.Message, to []*session.Session) (int, error) {
	msg.Src = SourceAPI
	text, err := msg.Append(nil)
	if err != nil {
		return 0, err
	}
	f := session.NewTextFrame(text)
	defer f.Release()
	return sendAll(to, f, msg.Urgent, nil, ""), nil
}

// DeviceStatus is a connected device as the HTTP API shows it.
type DeviceStatus struct {
	protocol.DeviceInfo
	Session     string         `json:"session"`
	Remote      string         `json:"remote"`
	ConnectedAt time.Time      `json:"connected_at"`
	Pending     int            `json:"pending_commands"`
	Health      session.Health `json:"health"`
}

// Devices returns the connected devices, by id.
func (r *Router) Devices() []DeviceStatus {
	r.mu.Lock()
	infos := r.deviceInfos()
	sessions := make([]*session.Session, len(infos))
	for i, info := range infos {
		sessions[i] = r.devices[info.DeviceID].session
	}
	r.mu.Unlock()
	all := make([]DeviceStatus, len(infos))
	for i, info := range infos {
		all[i] = status(info, sessions[i])
	}
	return all
}

// Device returns one connected device, or false.
func (r *Router) Device(id string) (DeviceStatus, bool) {
	r.mu.Lock()
	d := r.devices[id]
	if d == nil || d.session == nil {
		r.mu.Unlock()
		return DeviceStatus{}, false
	}
	info, s := r.deviceInfo(d), d.session
	r.mu.Unlock()
	return status(info, s), true
}

func status(info protocol.DeviceInfo, s *session.Session) DeviceStatus {
	l := s.Attachment().(*link)
	l.mu.Lock()
	pending := len(l.pending)
	l.mu.Unlock()
	return DeviceStatus{
		DeviceInfo: info, Session: s.ID().String(), Remote: s.Info().Remote,
		ConnectedAt: s.Since().UTC(), Pending: pending, Health: s.Health(),
	}
}

// AnnounceClosing tells every session that the gateway is about to close, and
// how long to wait before connecting again.
func (r *Router) AnnounceClosing(retryAfter time.Duration) {
	msg, err := protocol.NewMessage(protocol.TypeClosing, protocol.Closing{RetryAfterMS: retryAfter.Milliseconds()})
	if err != nil {
		return
	}
	text, err := msg.Append(nil)
	if err == nil {
		r.manager.Broadcast(text, nil)
	}
}

// failure counts an error and returns it.
func (r *Router) failure(code protocol.ErrorCode, message string) error {
	r.stats.countError(code)
	return &Error{code, message}
}

// asError keeps a nil *Error from becoming a non-nil error.
func asError(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}
