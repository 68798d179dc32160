package router

import (
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// welcomeDevice queues the welcome of a device. Every welcome is urgent, so
// that it is first in the first write.
func (r *Router) welcomeDevice(s *session.Session, d *device) {
	w := r.welcome(s)
	w.DeviceID = d.id
	w.Stream = &d.stream
	msg, err := protocol.NewMessage(protocol.TypeWelcome, w)
	if err == nil {
		// Cannot fail: the queue of a new session is empty.
		_ = s.SendMessage(&msg, true)
	}
}

// welcomeFrontend queues the welcome with the list of devices. The caller holds mu
// until the front end is registered, so that the front end gets a notice of every
// change after the list, and of no change before.
func (g *registry) welcomeFrontend(fe *frontend) error {
	listing, err := g.listingFor(fe)
	if err != nil {
		return err
	}
	head, err := json.Marshal(g.r.welcome(fe.s))
	if err != nil {
		return err
	}
	// The list is the last member of the payload. It is encoded once after
	// each change, for all front ends without limited rights.
	payload := make([]byte, 0, len(head)+len(listing)+16)
	payload = append(payload, head[:len(head)-1]...)
	payload = append(payload, `,"devices":`...)
	payload = append(payload, listing...)
	payload = append(payload, '}')
	msg := protocol.Message{Type: protocol.TypeWelcome, Payload: payload}
	return fe.s.SendMessage(&msg, true)
}

// listingFor returns the encoded list of the devices that a front end may
// observe. The caller holds mu.
func (g *registry) listingFor(fe *frontend) ([]byte, error) {
	if fe.rights.Load() != nil {
		infos := slices.DeleteFunc(g.infos(), func(d protocol.DeviceInfo) bool { return !fe.mayObserve(d.DeviceID) })
		return json.Marshal(infos)
	}
	if g.listing == nil {
		listing, err := json.Marshal(g.infos())
		if err != nil {
			return nil, err
		}
		g.listing = listing
	}
	return g.listing, nil
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

// infos lists the devices that are connected, here or to another node, by id.
// The caller holds mu.
func (g *registry) infos() []protocol.DeviceInfo {
	infos := make([]protocol.DeviceInfo, 0, len(g.online))
	for d := range g.online {
		if info, online := g.info(d); online {
			infos = append(infos, info)
		}
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].DeviceID < infos[j].DeviceID })
	return infos
}
