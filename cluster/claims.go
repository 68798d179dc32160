package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/labgate/labgate/router/federation"
)

// maintainKeys claims, renews and releases the keys of the node and its devices,
// until the connection ends.
func (rc *redisConn) maintainKeys() {
	b := rc.bus
	ticker := time.NewTicker(min(b.options.TTL/30, 300*time.Millisecond))
	defer ticker.Stop()
	nodeDue := b.now() + part(b.options.TTL, 4)
	for scan := true; ; {
		if err := rc.doKeys(scan, &nodeDue); err != nil {
			rc.fail(fmt.Errorf("claiming keys: %w", err))
			return
		}
		select {
		case <-rc.ctx.Done():
			return
		case <-b.wakeKeys:
			scan = false
		case <-ticker.C:
			scan = true
		}
	}
}

// doKeys does all work on keys that is due, and renews the node's key when nodeDue
// has come. It does nothing any longer when the bus is being left.
func (rc *redisConn) doKeys(scan bool, nodeDue *int64) error {
	b := rc.bus
	rc.keys.Lock()
	defer rc.keys.Unlock()
	b.mu.Lock()
	leaving := b.leaving
	b.mu.Unlock()
	if leaving {
		return nil
	}
	if err := rc.updateKeys(scan); err != nil {
		return err
	}
	at := b.now()
	if at < *nodeDue {
		return nil
	}
	*nodeDue = at + jittered(part(b.options.TTL, 4))
	return rc.claimNode()
}

// claimNode claims or renews the node's key, on the socket on which messages arrive:
// when that Redis is no longer a master, the write fails and ends the connection.
// Probes alone would still come back.
func (rc *redisConn) claimNode() error {
	b := rc.bus
	// A node has died when its key has expired: others must see that within the time
	// to live.
	call := scriptCall{nodeScript, b.names.ofNode(b.id), []string{b.nodeValue(), milliseconds(b.options.TTL * 7 / 10)}}
	var result rueidis.RedisResult
	if rc.mode == rueidis.ClientModeCluster {
		results, err := rc.runScripts([]scriptCall{call})
		if err != nil {
			return err
		}
		result = results[0]
	} else {
		result = rc.in.Do(context.Background(), rc.client.B().Eval().Script(call.script.text).Numkeys(1).Key(call.key).Arg(call.args...).Build())
	}
	other, err := result.ToString()
	if err == nil && other != "" {
		err = fmt.Errorf("%w: %.200s", errNodeHere, other)
	}
	return err
}

// nodeValue is the value of the node's key, which people can read.
func (b *Bus) nodeValue() string {
	v, _ := json.Marshal(map[string]string{"name": b.options.Name, "run": b.token})
	return string(v)
}

// updateKeys claims, renews and releases the keys of devices that are due. With
// scan it looks at all devices, else only at those that came or went.
func (rc *redisConn) updateKeys(scan bool) error {
	for {
		calls, devices := rc.keysDue(scan)
		if len(calls) == 0 {
			return nil
		}
		results, err := rc.runScripts(calls)
		if err != nil {
			return err
		}
		for i, d := range devices {
			greater, err := results[i].ToString()
			if err != nil {
				rc.bus.log.Error().Err(err).Str("device", d.Device).Msg("Redis refuses to claim the key of a device")
			} else if greater != "" {
				rc.claimRefused(d, greater)
			} else {
				rc.claimGranted(d)
			}
		}
	}
}

// keysDue returns the calls of scripts that are due: the first len(devices) of them
// claim those devices, the others release some.
func (rc *redisConn) keysDue(scan bool) (calls []scriptCall, devices []*heldDevice) {
	b := rc.bus
	ttl, node, at := milliseconds(b.options.TTL), nodeHex(b.id), b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	claim := func(d *heldDevice) {
		d.due = at + jittered(part(b.options.TTL, 3))
		devices = append(devices, d)
		calls = append(calls, scriptCall{claimScript, b.names.device + d.Device, []string{scriptEpoch(d.Epoch), node, b.options.Name, ttl}})
	}
	for len(b.local.fresh) > 0 && len(calls) < maxScripts {
		if d := b.local.devices[b.local.fresh[0]]; d != nil && !d.taken {
			claim(d)
		}
		b.local.fresh = b.local.fresh[1:]
	}
	if scan {
		for _, d := range b.local.devices {
			if len(calls) >= maxScripts {
				break
			}
			if d.due <= at && !d.taken {
				claim(d)
			}
		}
	}
	for len(b.local.releases) > 0 && len(calls) < maxScripts {
		r := b.local.releases[0]
		calls = append(calls, scriptCall{releaseScript, b.names.device + r.Device, []string{scriptEpoch(r.Epoch), node}})
		b.local.releases = b.local.releases[1:]
	}
	return calls, devices
}

// claimGranted notes that this node has the key of a device.
func (rc *redisConn) claimGranted(d *heldDevice) {
	rc.bus.mu.Lock()
	defer rc.bus.mu.Unlock()
	d.fresh, d.refused = false, false
}

// claimRefused notes that another node has the key of a device with a greater
// epoch. The Member is told when a second claim is refused, too: the other node's
// change of state takes longer to arrive than this answer, after an outage much
// longer, and may settle the matter by itself.
func (rc *redisConn) claimRefused(d *heldDevice, greater string) {
	b := rc.bus
	epoch, err := strconv.ParseUint(greater, 10, 64)
	if err != nil {
		b.log.Error().Str("device", d.Device).Str("epoch", fmt.Sprintf("%.40q", greater)).Msg("the key of a device holds no epoch")
		return
	}
	b.mu.Lock()
	still := b.local.devices[d.Device] == d && d.refused
	first := d.fresh
	wait := b.options.Timeout
	if d.fresh {
		wait = min(wait/4, 100*time.Millisecond)
	}
	if d.due = b.now() + wait.Microseconds(); still {
		d.taken = true
	}
	d.refused = true
	b.mu.Unlock()
	if still {
		b.callMember(func(m federation.Member) { m.DeviceOvertaken(d.Device, d.Epoch, epoch, first) })
	}
}

// claimAll makes the keys of all devices due within a second. Not all at once:
// every node does that when Redis is back.
func (s *localState) claimAll(now int64) {
	s.fresh, s.releases = nil, nil
	for _, d := range s.devices {
		d.due, d.fresh, d.refused = now, false, false
		if len(s.devices) > maxScripts {
			d.due += rand.Int64N(time.Second.Microseconds())
		}
	}
}

// releaseKeys deletes the keys of all devices and of the node.
func (rc *redisConn) releaseKeys() error {
	b := rc.bus
	rc.keys.Lock()
	defer rc.keys.Unlock()
	b.mu.Lock()
	for name, d := range b.local.devices {
		b.local.releases = append(b.local.releases, federation.Release{Device: name, Epoch: d.Epoch})
	}
	clear(b.local.devices)
	b.local.fresh = nil
	b.mu.Unlock()
	if err := rc.updateKeys(false); err != nil {
		return err
	}
	_, err := rc.runScripts([]scriptCall{{leaveScript, b.names.ofNode(b.id), []string{b.nodeValue()}}})
	return err
}
