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

// Queries between routers.
const (
	askDevices = "devices"
	askDevice  = "device"
)

// Devices returns the devices that are connected to any node, sorted by id. It
// waits for the other nodes, 2 s at most. silent has the labels of the nodes that
// did not answer; of their devices only the DeviceInfo is known.
func (r *Router) Devices(ctx context.Context) (devices []DeviceStatus, silent []string) {
	known, here := r.registry.connected()
	devices = make([]DeviceStatus, len(known))
	at := make(map[string]int, len(known))
	for i, info := range known {
		at[info.DeviceID] = i
		devices[i] = DeviceStatus{DeviceInfo: info}
		if s := here[i]; s != nil {
			devices[i] = status(info, s)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	answers, silent := r.AskAll(ctx, askDevices, "")
	for _, answer := range answers {
		var theirs []DeviceStatus
		if json.Unmarshal(answer.Text, &theirs) != nil {
			silent = append(silent, answer.Label)
			continue
		}
		for _, d := range theirs {
			i, known := at[d.DeviceID]
			if holder, held := r.peers.holder([]byte(d.DeviceID)); known && held && holder == answer.Node {
				// Stream numbers differ from node to node.
				d.Stream = devices[i].Stream
				devices[i] = d
			}
		}
	}
	return devices, silent
}

// Device returns a device that is connected to any node, or false. When the
// node that holds the device does not answer within 2 s, only the DeviceInfo
// is set.
func (r *Router) Device(ctx context.Context, id string) (DeviceStatus, bool) {
	info, s, online := r.registry.lookUp(id)
	switch {
	case !online:
		return DeviceStatus{}, false
	case s != nil:
		return status(info, s), true
	}
	st := DeviceStatus{DeviceInfo: info}
	if node, held := r.peers.holder([]byte(id)); held {
		ctx, cancel := context.WithTimeout(ctx, queryTime)
		defer cancel()
		var theirs DeviceStatus
		if answer, err := r.Ask(ctx, node, askDevice, id); err == nil && json.Unmarshal(answer, &theirs) == nil {
			theirs.Stream = info.Stream
			st = theirs
		}
	}
	return st, true
}

// answerStatus answers the queries between routers. The answer is nil when the
// device is not connected here. False: the query is not one of these.
func (r *Router) answerStatus(what, arg string) ([]byte, bool) {
	var v any
	switch what {
	case askDevices:
		all := []DeviceStatus{}
		known, here := r.registry.connected()
		for i, info := range known {
			if here[i] != nil {
				all = append(all, status(info, here[i]))
			}
		}
		v = all
	case askDevice:
		info, s, _ := r.registry.lookUp(arg)
		if s == nil {
			return nil, true
		}
		v = status(info, s)
	default:
		return nil, false
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, true
	}
	return text, true
}

// connected lists the devices that are connected to any node, sorted by id,
// with their sessions; the session of a remote device is nil.
func (g *registry) connected() ([]protocol.DeviceInfo, []*session.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	infos := g.infos()
	here := make([]*session.Session, len(infos))
	for i, info := range infos {
		here[i] = g.devices[info.DeviceID].session
	}
	return infos, here
}

// lookUp describes a device that is connected to any node. The session of a
// remote device is nil.
func (g *registry) lookUp(id string) (protocol.DeviceInfo, *session.Session, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[id]
	if d == nil {
		return protocol.DeviceInfo{}, nil, false
	}
	info, online := g.info(d)
	return info, d.session, online
}

func status(info protocol.DeviceInfo, s *session.Session) DeviceStatus {
	return DeviceStatus{
		DeviceInfo: info, Session: s.ID().String(), Remote: s.Info().Remote,
		ConnectedAt: s.ConnectedAt().UTC(), Pending: s.Attachment().(*deviceConn).pending.count(), Health: s.Health(),
	}
}
