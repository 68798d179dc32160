package cluster

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// script is a Lua script, which Redis runs as one step. Each works on one key, so
// that it can run in a Redis Cluster.
type script struct{ text, sha string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text)) // which Redis names scripts by
	return &script{text, hex.EncodeToString(sum[:])}
}

// The scripts compare epochs as strings of twenty decimal digits: Lua's own numbers
// would lose the last digits of large ones.
var (
	// claimScript claims a device's key, or renews the claim: ARGV epoch, node,
	// name, time to live in milliseconds. When another node has the key with a
	// greater epoch, the script returns that epoch and changes nothing.
	claimScript = newScript(`
local held = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if held[1] and (held[1] > ARGV[1] or held[1] == ARGV[1] and held[2] > ARGV[2]) then return held[1] end
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'node', ARGV[2], 'name', ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ''`)
	// releaseScript deletes a device's key if this node still has it with that
	// epoch: ARGV epoch, node.
	releaseScript = newScript(`
local held = redis.call('HMGET', KEYS[1], 'epoch', 'node')
if held[1] == ARGV[1] and held[2] == ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0`)
	// nodeScript claims a node's key, or renews the claim: ARGV value, time to live
	// in milliseconds. When another run of a node has the key, the script returns
	// that run's value.
	nodeScript = newScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''`)
	// leaveScript deletes a node's key if it has this value: ARGV value.
	leaveScript = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)

// scriptCall is a call of a script on a key.
type scriptCall struct {
	script *script
	key    string
	args   []string
}

// maxScripts bounds the scripts that are sent to Redis at once, so that messages
// do not wait behind the keys of all devices of a node.
const maxScripts = 256

// runScripts runs scripts and returns a result for each. Calls on one key run in
// order, except those of a script that Redis has not seen before, which run last;
// epochs make sure that this does no harm.
func (rc *redisConn) runScripts(calls []scriptCall) ([]rueidis.RedisResult, error) {
	commands := make([]rueidis.Completed, 0, len(calls))
	for _, c := range calls {
		commands = append(commands, rc.client.B().Evalsha().Sha1(c.script.sha).Numkeys(1).Key(c.key).Arg(c.args...).Build())
	}
	results := rc.client.DoMulti(context.Background(), commands...)
	var unknown []int
	commands = commands[:0]
	for i, r := range results {
		if err := r.NonRedisError(); err != nil {
			return nil, err
		}
		if err, ok := rueidis.IsRedisErr(r.Error()); ok && err.IsNoScript() {
			c := calls[i]
			commands = append(commands, rc.client.B().Eval().Script(c.script.text).Numkeys(1).Key(c.key).Arg(c.args...).Build())
			unknown = append(unknown, i)
		}
	}
	for i, r := range rc.client.DoMulti(context.Background(), commands...) {
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

// unusable reports whether an error says that this Redis, or this shard of a Redis
// Cluster, does not serve now. All other errors concern one key.
func unusable(err *rueidis.RedisError) bool {
	return err.IsLoading() || err.IsClusterDown() || err.IsTryAgain() || hasCode(err, "READONLY") || hasCode(err, "MASTERDOWN") || hasCode(err, "NOAUTH")
}

func hasCode(err *rueidis.RedisError, code string) bool { return strings.HasPrefix(err.Error(), code) }

// scriptEpoch is an epoch as the scripts compare it.
func scriptEpoch(e uint64) string { return fmt.Sprintf("%020d", e) }

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
