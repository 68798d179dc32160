package router

import (
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// welcomeDevice queues the welcome, urgent like every welcome: it goes ahead of
// whatever else is queued before the first write.
func (r *Router) welcomeDevice(s *session.Session, d *device) {
	w := r.welcome(s)
	w.DeviceID = d.id
	w.Stream = &d.stream
	msg, err := protocol.NewMessage(protocol.TypeWelcome, w)
	if err == nil {
		// The queue of a new session takes it.
		_ = s.SendMessage(&msg, true)
	}
}

// welcomeFrontend queues the welcome with the list of devices. The caller
// holds mu: whoever comes or goes after this list was made is announced to
// this front end, and nobody twice.
func (r *Router) welcomeFrontend(s *session.Session) error {
	listing, err := r.listingFor(s.Attachment().(*frontend))
	if err != nil {
		return err
	}
	head, err := json.Marshal(r.welcome(s))
	if err != nil {
		return err
	}
	// The list is encoded once for all who come between two changes of it, and
	// put in as the last member of the payload.
	payload := make([]byte, 0, len(head)+len(listing)+16)
	payload = append(payload, head[:len(head)-1]...)
	payload = append(payload, `,"devices":`...)
	payload = append(payload, listing...)
	payload = append(payload, '}')
	msg := protocol.Message{Type: protocol.TypeWelcome, Payload: payload}
	return s.SendMessage(&msg, true)
}

// listingFor returns the encoded list of the devices that a front end may
// observe. The caller holds mu.
func (r *Router) listingFor(fe *frontend) ([]byte, error) {
	if fe.rights.Load() != nil {
		infos := slices.DeleteFunc(r.deviceInfos(), func(d protocol.DeviceInfo) bool { return !fe.mayObserve(d.DeviceID) })
		return json.Marshal(infos)
	}
	if r.listing == nil {
		listing, err := json.Marshal(r.deviceInfos())
		if err != nil {
			return nil, err
		}
		r.listing = listing
	}
	return r.listing, nil
}

func (r *Router) welcome(s *session.Session) protocol.Welcome {
	return protocol.Welcome{
		Session:      s.ID().String(),
		Role:         s.Role().String(),
		Node:         r.opts.Node,
		ServerTimeUS: time.Now().UnixMicro(),
		HeartbeatMS:  r.manager.Options().HeartbeatInterval.Milliseconds(),
		MaxMessage:   r.opts.MaxMessage,
	}
}

// deviceInfos lists the devices that are connected, here or to another node, by
// id. The caller holds mu.
func (r *Router) deviceInfos() []protocol.DeviceInfo {
	infos := make([]protocol.DeviceInfo, 0, len(r.devices))
	for _, d := range r.devices {
		if info, online := r.deviceOnline(d); online {
			infos = append(infos, info)
		}
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].DeviceID < infos[j].DeviceID })
	return infos
}

// deviceOnline describes a device that is connected, wherever. The caller holds
// mu.
func (r *Router) deviceOnline(d *device) (protocol.DeviceInfo, bool) {
	switch {
	case d.session != nil:
		return r.deviceInfo(d), true
	case d.shared != nil && d.shared.holder != nil:
		return r.foreignInfo(d), true
	}
	return protocol.DeviceInfo{}, false
}

// deviceInfo describes a device that is connected here. The caller holds mu.
func (r *Router) deviceInfo(d *device) protocol.DeviceInfo {
	info := d.session.Info()
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: r.opts.Node, Type: info.Type, Customer: info.Customer, Meta: info.Meta}
}
