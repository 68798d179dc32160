package router

import (
	"context"
	"encoding/json"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// DeviceStatus is a connected device as the HTTP API shows it.
type DeviceStatus struct {
	protocol.DeviceInfo
	Session     string         `json:"session,omitzero"`
	Remote      string         `json:"remote,omitzero"`
	ConnectedAt time.Time      `json:"connected_at,omitzero"`
	Pending     int            `json:"pending_commands"`
	Health      session.Health `json:"health"`
}

// Questions that routers ask each other.
const (
	askDevices = "devices"
	askDevice  = "device"
)

// Devices returns the devices that are connected, to any node, by id. Other
// nodes are waited for, 2 s at most; silent names those that did not answer,
// of whose devices only the id, the node and what they said at their handshake
// is known.
func (r *Router) Devices(ctx context.Context) (devices []DeviceStatus, silent []string) {
	known, here := r.knownDevices()
	devices = make([]DeviceStatus, len(known))
	at := make(map[string]int, len(known))
	for i, info := range known {
		at[info.DeviceID] = i
		devices[i] = DeviceStatus{DeviceInfo: info}
		if s := here[i]; s != nil {
			devices[i] = status(info, s)
		}
	}
	if r.bus == nil {
		return devices, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	answers, silent := r.AskAll(ctx, askDevices, "")
	for _, answer := range answers {
		var theirs []DeviceStatus
		if json.Unmarshal(answer, &theirs) != nil {
			continue
		}
		for _, d := range theirs {
			if i, known := at[d.DeviceID]; known && devices[i].Node == d.Node {
				// A stream's number is this node's.
				d.Stream = devices[i].Stream
				devices[i] = d
			}
		}
	}
	return devices, silent
}

// Device returns one device that is connected, to any node, or false. When
// another node holds it and does not answer within 2 s, it has the basic fields
// only.
func (r *Router) Device(ctx context.Context, id string) (DeviceStatus, bool) {
	r.mu.Lock()
	d := r.devices[id]
	if d == nil {
		r.mu.Unlock()
		return DeviceStatus{}, false
	}
	info, online := r.deviceOnline(d)
	s := d.session
	r.mu.Unlock()
	switch {
	case !online:
		return DeviceStatus{}, false
	case s != nil:
		return status(info, s), true
	}
	st := DeviceStatus{DeviceInfo: info}
	if node, held := r.others.holder([]byte(id)); held {
		ctx, cancel := context.WithTimeout(ctx, gatherTime)
		defer cancel()
		var theirs DeviceStatus
		if answer, err := r.Ask(ctx, node, askDevice, id); err == nil && json.Unmarshal(answer, &theirs) == nil {
			theirs.Stream = info.Stream
			st = theirs
		}
	}
	return st, true
}

// knownDevices lists the devices that are connected, to any node, by id, with
// the sessions of those that are connected here.
func (r *Router) knownDevices() ([]protocol.DeviceInfo, []*session.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	infos := r.deviceInfos()
	here := make([]*session.Session, len(infos))
	for i, info := range infos {
		here[i] = r.devices[info.DeviceID].session
	}
	return infos, here
}

// answer answers what another node asks.
func (r *Router) answer(what, arg string) []byte {
	var v any
	switch what {
	case askDevices:
		all := []DeviceStatus{}
		known, here := r.knownDevices()
		for i, info := range known {
			if here[i] != nil {
				all = append(all, status(info, here[i]))
			}
		}
		v = all
	case askDevice:
		r.mu.Lock()
		d := r.devices[arg]
		if d == nil || d.session == nil {
			r.mu.Unlock()
			return nil
		}
		info, s := r.deviceInfo(d), d.session
		r.mu.Unlock()
		v = status(info, s)
	default:
		if r.opts.Answer == nil {
			return nil
		}
		if text, known := r.opts.Answer(what, arg); known {
			return text
		}
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
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
