package cluster

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"github.com/labgate/labgate/router/federation"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// script is a Lua script that Redis runs as one step, on one key.
type script struct{ text, sha string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text)) // which Redis names scripts by
	return &script{text, hex.EncodeToString(sum[:])}
}

// Epochs are decimal numbers of twenty digits, so that as strings they compare
// as numbers do: Lua's own numbers would lose the last digits of large ones.
var (
	// claimScript takes a device, or renews the claim: KEYS[1] the device's key,
	// ARGV epoch, node, name, time to live in milliseconds. When another holds it
	// with a greater epoch that is returned, and nothing changed.
	claimScript = newScript(`
local held = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if held[1] and (held[1] > ARGV[1] or held[1] == ARGV[1] and held[2] > ARGV[2]) then return held[1] end
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'node', ARGV[2], 'name', ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ''`)
	// releaseScript deletes a device's key if it is still this node's, with that
	// epoch: ARGV epoch, node.
	releaseScript = newScript(`
local held = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if held[1] == ARGV[1] and held[2] == ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0`)
	// nodeScript takes a node's key, or renews it: ARGV value, time to live in
	// milliseconds. When another run has it, what it wrote is returned.
	nodeScript = newScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''`)
	// leaveScript deletes a node's key if it is ours: ARGV value.
	leaveScript = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)

// invocation is one call of a script.
type invocation struct {
	script *script
	key    string
	args   []string
}

// maxClaims is how many scripts Redis is asked to run at once, so that messages
// do not wait behind all the devices of a node.
const maxClaims = 256

// invoke runs scripts, each on a key of its own. The order of those on the same
// key is kept, but for a script that Redis has not seen yet; epochs make sure
// that it does not matter.
func (l *link) invoke(calls []invocation) ([]rueidis.RedisResult, error) {
	commands := make([]rueidis.Completed, 0, len(calls))
	for _, c := range calls {
		commands = append(commands, l.client.B().Evalsha().Sha1(c.script.sha).Numkeys(1).Key(c.key).Arg(c.args...).Build())
	}
	results := l.client.DoMulti(context.Background(), commands...)
	var unknown []int
	commands = commands[:0]
	for i, r := range results {
		if err := r.NonRedisError(); err != nil {
			return nil, err
		}
		if err, ok := rueidis.IsRedisErr(r.Error()); ok && err.IsNoScript() {
			c := calls[i]
			commands = append(commands, l.client.B().Eval().Script(c.script.text).Numkeys(1).Key(c.key).Arg(c.args...).Build())
			unknown = append(unknown, i)
		}
	}
	for i, r := range l.client.DoMulti(context.Background(), commands...) {
		if err := r.NonRedisError(); err != nil {
			return nil, err
		}
		results[unknown[i]] = r
	}
	for _, r := range results {
		if err, ok := rueidis.IsRedisErr(r.Error()); ok && unusable(err) {
			return nil, err
		}
	}
	return results, nil
}

// unusable reports whether an error says that this Redis, or this part of a
// Redis Cluster, does not serve now. Others concern one key.
func unusable(err *rueidis.RedisError) bool {
	return err.IsLoading() || err.IsClusterDown() || err.IsTryAgain() || hasCode(err, "READONLY") || hasCode(err, "MASTERDOWN") || hasCode(err, "NOAUTH")
}

// claims keeps the keys of the node and of its devices, until the link ends.
func (l *link) claims() {
	b := l.bus
	ticker := time.NewTicker(min(b.options.TTL/30, 300*time.Millisecond))
	defer ticker.Stop()
	node := b.now() + part(b.options.TTL, 4)
	for scan := true; ; {
		if err := l.keepKeys(scan, &node); err != nil {
			l.fail(fmt.Errorf("keeping keys: %w", err))
			return
		}
		select {
		case <-l.ctx.Done():
			return
		case <-b.wakeClaims:
			scan = false
		case <-ticker.C:
			scan = true
		}
	}
}

// keepKeys does what is due, and the node's key at the time next, unless the bus
// is being left.
func (l *link) keepKeys(scan bool, next *int64) error {
	b := l.bus
	l.keys.Lock()
	defer l.keys.Unlock()
	b.mu.Lock()
	leaving := b.leaving
	b.mu.Unlock()
	if leaving {
		return nil
	}
	if err := l.settle(scan); err != nil {
		return err
	}
	at := b.now()
	if at < *next {
		return nil
	}
	*next = at + jittered(part(b.options.TTL, 4))
	return l.claimNode()
}

// claimNode takes or renews the node's key. Over Sentinel that is done where
// messages arrive: a master that was replaced and does not know it would let
// this node talk to itself.
func (l *link) claimNode() error {
	b := l.bus
	// What says that a node has died must be gone, and seen to be gone, within the
	// time to live.
	call := invocation{nodeScript, b.names.ofNode(b.id), []string{b.nodeValue(), milliseconds(b.options.TTL * 7 / 10)}}
	var result rueidis.RedisResult
	if l.mode == rueidis.ClientModeCluster {
		results, err := l.invoke([]invocation{call})
		if err != nil {
			return err
		}
		result = results[0]
	} else {
		result = l.in.Do(context.Background(), l.client.B().Eval().Script(call.script.text).Numkeys(1).Key(call.key).Arg(call.args...).Build())
	}
	other, err := result.ToString()
	if err == nil && other != "" {
		err = fmt.Errorf("%w: %.200s", errNodeHere, other)
	}
	return err
}

// nodeValue is what the node's key holds, for people to read.
func (b *Bus) nodeValue() string {
	v, _ := json.Marshal(map[string]string{"name": b.options.Name, "run": b.token})
	return string(v)
}

// settle claims, renews and releases the keys that are due; all of this node's
// devices are looked at only if scan is set.
func (l *link) settle(scan bool) error {
	for {
		calls, devices := l.dueClaims(scan)
		if len(calls) == 0 {
			return nil
		}
		results, err := l.invoke(calls)
		if err != nil {
			return err
		}
		for i, d := range devices {
			by, err := results[i].ToString()
			if err != nil {
				l.bus.log.Error().Err(err).Str("device", d.Device).Msg("Redis refuses the key of a device")
			} else if by != "" {
				l.refused(d, by)
			} else {
				l.granted(d)
			}
		}
	}
}

// dueClaims returns scripts to be run: the first len(devices) of them claim
// those, the others release.
func (l *link) dueClaims(scan bool) (calls []invocation, devices []*held) {
	b := l.bus
	ttl, node, at := milliseconds(b.options.TTL), nodeHex(b.id), b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	claim := func(d *held) {
		d.due = at + jittered(part(b.options.TTL, 3))
		devices = append(devices, d)
		calls = append(calls, invocation{claimScript, b.names.device + d.Device, []string{epoch(d.Epoch), node, b.options.Name, ttl}})
	}
	for len(b.own.fresh) > 0 && len(calls) < maxClaims {
		if d := b.own.devices[b.own.fresh[0]]; d != nil && !d.taken {
			claim(d)
		}
		b.own.fresh = b.own.fresh[1:]
	}
	if scan {
		for _, d := range b.own.devices {
			if len(calls) >= maxClaims {
				break
			}
			if d.due <= at && !d.taken {
				claim(d)
			}
		}
	}
	for len(b.own.releases) > 0 && len(calls) < maxClaims {
		r := b.own.releases[0]
		calls = append(calls, invocation{releaseScript, b.names.device + r.Device, []string{epoch(r.Epoch), node}})
		b.own.releases = b.own.releases[1:]
	}
	return calls, devices
}

// granted notes that the key of a device is this node's.
func (l *link) granted(d *held) {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	d.fresh, d.refused = false, false
}

// refused notes that another node holds a device with the epoch that its key
// has. The Member is told when that is still so at a second look: the news of
// the other node, which may be newer or about to be overtaken itself, takes
// longer to come than the claim, and after an outage much longer.
func (l *link) refused(d *held, by string) {
	b := l.bus
	epoch, err := strconv.ParseUint(by, 10, 64)
	if err != nil {
		b.log.Error().Str("device", d.Device).Str("epoch", fmt.Sprintf("%.40q", by)).Msg("the key of a device holds no epoch")
		return
	}
	b.mu.Lock()
	still := b.own.devices[d.Device] == d && d.refused
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
		b.call(func(m federation.Member) { m.DeviceOvertaken(d.Device, d.Epoch, epoch, first) })
	}
}

// scheduleAll makes the keys of all devices due within a second, not all at
// once: every node does that when Redis is back.
func (o *own) scheduleAll(now int64) {
	o.fresh, o.releases = nil, nil
	for _, d := range o.devices {
		d.due, d.fresh, d.refused = now, false, false
		if len(o.devices) > maxClaims {
			d.due += rand.Int64N(time.Second.Microseconds())
		}
	}
}

// releaseKeys deletes the keys of all devices, and of the node.
func (l *link) releaseKeys() error {
	b := l.bus
	l.keys.Lock()
	defer l.keys.Unlock()
	b.mu.Lock()
	for name, d := range b.own.devices {
		b.own.releases = append(b.own.releases, federation.Release{Device: name, Epoch: d.Epoch})
	}
	clear(b.own.devices)
	b.own.fresh = nil
	b.mu.Unlock()
	if err := l.settle(false); err != nil {
		return err
	}
	_, err := l.invoke([]invocation{{leaveScript, b.names.ofNode(b.id), []string{b.nodeValue()}}})
	return err
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func epoch(e uint64) string { return fmt.Sprintf("%020d", e) }

func hasCode(err *rueidis.RedisError, code string) bool { return strings.HasPrefix(err.Error(), code) }
