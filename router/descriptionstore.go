package router

import (
	"crypto/sha256"
	"strconv"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/protocol"
)

// This file keeps the descriptions that devices sent, and bounds their memory.

// maxDescriptions bounds the memory of all descriptions that devices sent, in bytes
// (describe.Described.Weight).
const maxDescriptions = 128 << 20

// descriptionKey identifies the text of a description. The version has too few
// digits against devices that look for two texts of one version.
type descriptionKey [sha256.Size]byte

// sharedDescription is a description that one or more devices sent. Guarded by
// registry.mu, but for the Described, which does not change.
type sharedDescription struct {
	*describe.Described
	key     descriptionKey
	devices int
}

// descriptions has the descriptions that devices sent. Devices of one kind often
// send the same one, which is then kept once. Guarded by registry.mu.
type descriptions struct {
	shared map[descriptionKey]*sharedDescription
	weight int // of all of them
}

// makeRoom reports overloaded when a description does not fit into maxDescriptions,
// also not when the descriptions of devices that are offline are dropped. The
// caller holds mu.
func (g *registry) makeRoom(d *device, weight int) *protocol.Error {
	if before := d.description.sent; before != nil && before.devices == 1 {
		weight -= before.Weight()
	}
	if g.descriptions.weight+weight <= maxDescriptions {
		return nil
	}
	for _, other := range g.devices {
		if !other.online() && other.description.sent != nil {
			g.drop(other.description.sent)
			other.description.sent = nil
			other.described.Store(other.description.inForce())
		}
		if g.descriptions.weight+weight <= maxDescriptions {
			return nil
		}
	}
	return protocol.NewError(protocol.ErrOverloaded, "the descriptions of all devices take more than "+strconv.Itoa(maxDescriptions>>20)+" MiB; send a shorter one")
}

// keep and drop count the devices that have a description. The caller holds mu.
func (g *registry) keep(said *sharedDescription) {
	if said == nil {
		return
	}
	if said.devices++; said.devices == 1 {
		if g.descriptions.shared == nil {
			g.descriptions.shared = make(map[descriptionKey]*sharedDescription)
		}
		g.descriptions.shared[said.key] = said
		g.descriptions.weight += said.Weight()
	}
}

func (g *registry) drop(said *sharedDescription) {
	if said == nil {
		return
	}
	if said.devices--; said.devices == 0 {
		delete(g.descriptions.shared, said.key)
		g.descriptions.weight -= said.Weight()
	}
}

// forgetDescription drops what a device has said, because another node holds the
// device, or because its entry is removed. The caller holds mu.
func (g *registry) forgetDescription(d *device) {
	g.drop(d.description.sent)
	d.description.sent, d.description.file = nil, nil
	d.described.Store(nil)
}
