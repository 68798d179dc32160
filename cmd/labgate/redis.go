package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/labgate/labgate/cluster"
	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/server"
)

// maxBetweenNodes bounds --max-message: two messages of that size must not be
// more than what Redis keeps for a subscriber, 32 MiB unless it is told
// otherwise.
const maxBetweenNodes = 16 << 20

// newBus makes the bus that joins a gateway with others; nil without --redis.
// Nothing is connected yet. The errors name options and contain nothing of the
// URL that could be a password.
func newBus(o cluster.Options, gateway *server.Options) (*cluster.Bus, error) {
	if o.URL == "" {
		if name := needsRedis(&o); name != "" {
			return nil, fmt.Errorf("%s is given without --redis; give the URL of a Redis too", name)
		}
		return nil, nil
	}
	if !protocol.ValidName(gateway.Node) {
		return nil, fmt.Errorf("--node %q: with --redis it must be 1 to %d letters, digits and . _ : - that start with a letter or digit", gateway.Node, protocol.MaxNameLen)
	}
	if gateway.MaxMessage > maxBetweenNodes {
		return nil, fmt.Errorf("--max-message %d is out of range; with --redis use %d at most: Redis ends the connection of a node for which more than 32 MiB wait", gateway.MaxMessage, maxBetweenNodes)
	}
	o.Name, o.Logger = gateway.Node, gateway.Logger
	bus, err := cluster.New(o)
	if rangeErr := (*option.RangeError)(nil); errors.As(err, &rangeErr) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("--redis: %s", withoutPackage(err))
	}
	return bus, nil
}

// needsRedis returns an option that means nothing without --redis and is given
// all the same.
func needsRedis(o *cluster.Options) string {
	switch {
	case o.PasswordFile != "":
		return "--redis-password-file"
	case o.CAFile != "":
		return "--redis-ca"
	case o.CertFile != "":
		return "--redis-cert"
	case o.KeyFile != "":
		return "--redis-key"
	case o.Sharded:
		return "--redis-sharded"
	}
	return ""
}

// withoutPackage returns what an error says, without the name of its package,
// which means nothing to the person who gave the option.
func withoutPackage(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "cluster: "), "Redis URL: ")
}
