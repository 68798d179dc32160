package router

import (
	"bytes"
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
	"github.com/labgate/labgate/session"
)

// This file handles the descriptions of devices: what a device says itself
// (gateway.describe), what a file says for it (Options.Described), and who is told.

const (
	// A device may change its description describeBurst times at once, and
	// describeRate times per second: compiling one takes some milliseconds.
	describeRate  = 1
	describeBurst = 4
	// describeCost is the cost of a description in devices of a subscription, as
	// for owner.
	describeCost = 32
)

// deviceDescription is what a device says about itself, and what a file says about
// it. registry.mu guards every field that has no other note.
type deviceDescription struct {
	// sent is what the device sent, nil for nothing. file is what a file says, nil
	// for nothing; typ is the type with which the device connected last.
	sent *sharedDescription
	file *describe.Described
	typ  string
	// changes is the number of changes that describeRate has not yet paid back;
	// changed is the time of the last one, by the Manager's clock.
	changes float64
	changed time.Duration
}

// inForce returns the description that holds: what the device says wins.
func (d *deviceDescription) inForce() *describe.Described {
	if d.sent != nil {
		return d.sent.Described
	}
	return d.file
}

// mayChange reports whether the device may change its description now, and counts
// the change.
func (d *deviceDescription) mayChange(now time.Duration) bool {
	d.changes = max(0, d.changes-(now-d.changed).Seconds()*describeRate)
	d.changed = now
	if d.changes >= describeBurst {
		return false
	}
	d.changes++
	return true
}

// describe handles gateway.describe.
func (r *Router) describe(s *session.Session, e *protocol.Envelope) {
	c, ok := s.Attachment().(*deviceConn)
	if !ok {
		r.refuse(s, protocol.ErrNotAllowed, "only a device describes itself; connect as a device", e.ID)
		return
	}
	if !r.charge(s, e, describeCost) {
		return
	}
	version, fail := r.registry.describe(c, e.Payload)
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	answerControl(s, e, protocol.TypeDescribed, protocol.Described{Version: version})
}

// describe replaces the description of a device, or removes it when the payload is
// null. It returns the version that holds from now on, nil for none.
func (g *registry) describe(c *deviceConn, payload []byte) (*string, *protocol.Error) {
	payload = bytes.TrimSpace(payload)
	switch {
	case len(payload) == 0:
		return nil, protocol.NewError(protocol.ErrBadMessage, `field "payload": missing; send the description, or null for none`)
	case len(payload) > description.MaxSize:
		return nil, protocol.NewError(protocol.ErrBadMessage, `field "payload": `+strconv.Itoa(len(payload))+" bytes; a description of at most "+strconv.Itoa(description.MaxSize)+" is allowed")
	case string(payload) == "null":
		return g.setDescription(c, nil)
	}
	key := descriptionKey(sha256.Sum256(payload))
	if known, fail := g.knownDescription(c, key); known != nil || fail != nil {
		if fail != nil {
			return nil, fail
		}
		return g.setDescription(c, known)
	}
	d, err := describe.Parse(payload) // with no lock held
	if err != nil {
		return nil, protocol.NewError(protocol.ErrBadMessage, `field "payload": `+err.Error())
	}
	return g.setDescription(c, &sharedDescription{Described: d, key: key})
}

// knownDescription returns the description with a key, nil when no device has sent
// it. Then the caller is going to compile the description, which counts as a
// change.
func (g *registry) knownDescription(c *deviceConn, key descriptionKey) (*sharedDescription, *protocol.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.descriptions.shared[key]; known != nil {
		return known, nil
	}
	if !c.dev.description.mayChange(g.r.manager.Now()) {
		return nil, protocol.NewError(protocol.ErrRateLimited, "the device changes its description more than once a second; wait some seconds and send it again")
	}
	return nil, nil
}

// setDescription replaces what a device says about itself; nil for nothing.
func (g *registry) setDescription(c *deviceConn, said *sharedDescription) (*string, *protocol.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := c.dev
	if d.session != c.s {
		return nil, protocol.NewError(protocol.ErrNotAllowed, "the device has another connection; describe the device there")
	}
	if said != nil {
		if known := g.descriptions.shared[said.key]; known != nil {
			said = known
		} else if fail := g.makeRoom(d, said.Weight()); fail != nil {
			return nil, fail
		}
	}
	g.keep(said)
	g.drop(d.description.sent)
	d.description.sent = said
	g.refreshDescription(d)
	return d.descriptionVersion(), nil
}

// readDescriptionFile looks for a file that describes a device which is connecting
// here. The caller holds mu, and announces the device as online afterwards.
func (g *registry) readDescriptionFile(d *device, s *session.Session) {
	d.description.typ = s.Info().Type
	if g.r.opts.Described != nil {
		d.description.file = g.r.opts.Described(d.id, d.description.typ)
	}
	d.described.Store(d.description.inForce())
}

// DescriptionFilesChanged asks Options.Described again for every device that is
// connected here, and tells the front ends of changes.
func (r *Router) DescriptionFilesChanged() {
	g := &r.registry
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.session == nil && d.description.file == nil {
			continue
		}
		d.description.file = r.opts.Described(d.id, d.description.typ)
		g.refreshDescription(d)
	}
}

// refreshDescription puts the description in force after a change, and tells the
// front ends and the other nodes. The caller holds mu.
func (g *registry) refreshDescription(d *device) {
	before, now := d.described.Load(), d.description.inForce()
	d.described.Store(now)
	if d.session == nil || versionOf(before) == versionOf(now) {
		return
	}
	g.listing = nil
	g.holdAgain(d)
	g.announceDescription(d, d.descriptionVersion())
}

// announceDescription tells every front end that may observe a device which version
// its description has. The caller holds mu.
func (g *registry) announceDescription(d *device, version *string) {
	msg, err := protocol.NewMessage(protocol.TypeDeviceDescribed, protocol.DeviceDescribed{DeviceID: d.id, Version: version})
	if err != nil {
		return // impossible: the payload can be encoded
	}
	if text, err := msg.Append(nil); err == nil {
		f := session.NewTextFrame(text)
		sendAll(g.frontends(), f, false, nil, d.id)
		f.Release()
	}
}

func versionOf(d *describe.Described) string {
	if d == nil {
		return ""
	}
	return d.Version
}

// descriptionVersion returns the version of the description here, nil for none. The
// caller holds registry.mu.
func (d *device) descriptionVersion() *string {
	if in := d.described.Load(); in != nil {
		return &in.Version
	}
	return nil
}

// checkCommand checks the payload of a message for a device that is connected here
// against the device's description. Without a description there is nothing to
// check.
func checkCommand(e *protocol.Envelope, to *session.Session) *protocol.Error {
	d := to.Attachment().(*deviceConn).dev.described.Load()
	if d == nil {
		return nil
	}
	problem := d.Check(e.Type, e.Payload)
	if problem == nil {
		return nil
	}
	return protocol.NewError(protocol.ErrBadMessage, `field "payload": `+problem.Error()+"; "+string(e.Type)+" was not delivered to device "+to.Name())
}
