package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/labgate/labgate/cluster"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/server"
)

// redisFlags are the options of labgate serve that join it with other nodes.
type redisFlags struct {
	Redis             string        `group:"cluster" help:"Redis 7 through which this gateway and others are one: redis://HOST:PORT, with TLS rediss://, a socket unix:///PATH; several nodes of a Redis Cluster or sentinels with ?addr=HOST:PORT&addr=..., the latter with &master_set=NAME. USER:PASSWORD@ in front of the host; better in the variable or --redis-password-file, since other users of a machine see command lines. Without it the gateway is alone." placeholder:"URL"`
	RedisPasswordFile string        `group:"cluster" help:"File whose first line is the password, in place of the URL. Read for each connection." type:"path" placeholder:"FILE"`
	RedisCA           string        `group:"cluster" name:"redis-ca" help:"PEM file with the authorities of Redis's certificate. Default: the system's." type:"path" placeholder:"FILE"`
	RedisCert         string        `group:"cluster" help:"PEM file with a certificate for a Redis that asks for one." type:"path" placeholder:"FILE"`
	RedisKey          string        `group:"cluster" help:"PEM file with its key." type:"path" placeholder:"FILE"`
	RedisPrefix       string        `group:"cluster" help:"What the names of keys and channels begin with: installations that share a Redis have different ones." default:"labgate"`
	RedisTTL          time.Duration `group:"cluster" name:"redis-ttl" help:"How long a node that says nothing is believed to be there. The same on all nodes." default:"10s"`
	RedisTimeout      time.Duration `group:"cluster" help:"How long anything may be on its way through Redis; what took longer is not delivered. Default: 1s, or half of --redis-ttl if that is less." placeholder:"DURATION"`
	RedisSharded      bool          `group:"cluster" help:"Carry telemetry over sharded publish/subscribe, which in a Redis Cluster stays on one shard. The same on all nodes."`
}

// maxBetweenNodes bounds --max-message: two messages of that size must not be
// more than what Redis keeps for a subscriber, 32 MiB unless it is told
// otherwise.
const maxBetweenNodes = 16 << 20

// joinWith makes the bus that joins the gateway with others, if there is to be
// one. Nothing is connected yet. The errors name options and contain nothing
// of the URL that could be a password.
func (f *redisFlags) joinWith(opts *server.Options) error {
	if f.Redis == "" {
		if name := f.given(); name != "" {
			return fmt.Errorf("%s is given without --redis; give the URL of a Redis too", name)
		}
		return nil
	}
	if err := f.check(opts.Node); err != nil {
		return err
	}
	if opts.MaxMessage > maxBetweenNodes {
		return fmt.Errorf("--max-message %d is out of range; with --redis use %d at most: Redis ends the connection of a node for which more than 32 MiB wait", opts.MaxMessage, maxBetweenNodes)
	}
	bus, err := cluster.New(cluster.Options{
		URL: f.Redis, PasswordFile: f.RedisPasswordFile, CAFile: f.RedisCA, CertFile: f.RedisCert, KeyFile: f.RedisKey,
		Name: opts.Node, Prefix: f.RedisPrefix, TTL: f.RedisTTL, Timeout: f.RedisTimeout, Sharded: f.RedisSharded,
		Logger: opts.Logger,
	})
	if err != nil {
		return fmt.Errorf("--redis: %s", withoutPackage(err))
	}
	opts.Bus = bus
	return nil
}

// given returns an option that means nothing without --redis and is given all
// the same.
func (f *redisFlags) given() string {
	for _, o := range []struct{ name, value string }{
		{"--redis-password-file", f.RedisPasswordFile}, {"--redis-ca", f.RedisCA}, {"--redis-cert", f.RedisCert}, {"--redis-key", f.RedisKey},
	} {
		if o.value != "" {
			return o.name
		}
	}
	if f.RedisSharded {
		return "--redis-sharded"
	}
	return ""
}

func (f *redisFlags) check(node string) error {
	if err := cluster.ParseURL(f.Redis); err != nil {
		return fmt.Errorf("--redis: %s", withoutPackage(err))
	}
	if !protocol.ValidName(node) {
		return fmt.Errorf("--node %q: with --redis it must be 1 to %d letters, digits and . _ : - that start with a letter or digit", node, protocol.MaxNameLen)
	}
	if f.RedisPrefix == "" {
		return errors.New("--redis-prefix is empty; leave it away, or give what the names of keys and channels begin with")
	}
	if f.RedisTTL < cluster.MinTTL || f.RedisTTL > cluster.MaxTTL {
		return fmt.Errorf("--redis-ttl %v is out of range; use %v to %v", f.RedisTTL, cluster.MinTTL, cluster.MaxTTL)
	}
	if f.RedisTimeout != 0 && (f.RedisTimeout < cluster.MinTimeout || f.RedisTimeout > f.RedisTTL/2) {
		return fmt.Errorf("--redis-timeout %v is out of range; use %v to half of --redis-ttl, %v", f.RedisTimeout, cluster.MinTimeout, f.RedisTTL/2)
	}
	return nil
}

// withoutPackage returns what an error says, without the name of its package,
// which means nothing to whoever gave the option.
func withoutPackage(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "cluster: "), "Redis URL: ")
}
