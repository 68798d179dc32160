package cluster

import (
	"context"
	"fmt"
	"net"

	"github.com/redis/rueidis"
)

// Ping connects to Redis once, with the options of the bus, and returns why that
// fails. Nothing is published and no key is written; the bus need not be joined.
func (b *Bus) Ping(ctx context.Context) error {
	l := &link{bus: b, conns: map[net.Conn]struct{}{}}
	l.ctx, l.cancel = context.WithTimeout(ctx, setupTimeouts*b.options.Timeout)
	defer l.cancel()
	defer context.AfterFunc(l.ctx, l.closeConns)()
	o, err := l.clientOption()
	if err != nil {
		return err
	}
	client, err := rueidis.NewClient(o)
	if err != nil {
		return fmt.Errorf("cluster: no connection to Redis: %w", err)
	}
	defer client.Close()
	if err := client.Do(l.ctx, client.B().Ping().Build()).Error(); err != nil {
		return fmt.Errorf("cluster: no answer of Redis: %w", err)
	}
	return nil
}
