package router

import (
	"sync"

	"github.com/labgate/labgate/router/federation"
)

// remoteFeeds has the devices whose telemetry this node wants from other nodes.
// Telemetry of other nodes reads remoteFeeds without registry.mu, so that no
// telemetry waits for work on the registry.
type remoteFeeds struct {
	// mu guards the rest; a leaf. Writers hold registry.mu too.
	mu       sync.RWMutex
	byDevice map[string]remoteFeed
}

// remoteFeed is one device in remoteFeeds.
type remoteFeed struct {
	dev *device
	// holder is the node of the newest known holding, 0 while no other node holds
	// the device.
	holder federation.NodeID
}

// of returns the entry of a device, and whether this node wants the device's
// telemetry.
func (x *remoteFeeds) of(device string) (remoteFeed, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	f, wanted := x.byDevice[device]
	return f, wanted
}

// update brings the entry of a device up to date with the registry. The caller
// holds registry.mu, and has changed the device's stream or holder.
func (x *remoteFeeds) update(d *device) {
	if d.outbound == nil {
		return // a single node
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !d.holder.interested || d.stream == 0 {
		delete(x.byDevice, d.id)
		return
	}
	f := remoteFeed{dev: d}
	if d.holder.remote != nil {
		f.holder = d.holder.node
	}
	if x.byDevice == nil {
		x.byDevice = make(map[string]remoteFeed)
	}
	x.byDevice[d.id] = f
}

// remove removes the entry of a device that the registry forgets.
func (x *remoteFeeds) remove(device string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byDevice, device)
}
