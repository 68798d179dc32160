//go:build linux

package main

import "github.com/labgate/labgate/bench"

// acrossNodes is a figure of the scenario cluster.
func acrossNodes(f func(*bench.ClusterResult) float64) figure {
	return func(s *Sample) float64 {
		return of(s, func(r *bench.Report) float64 {
			if c := r.Results.Cluster; c != nil && c.Publish != nil && c.Unicast != nil && c.Telemetry != nil && c.Near != nil && c.Far != nil {
				return f(c)
			}
			return none
		})
	}
}

var (
	redisAlone          = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Publish.PerSecond })
	redisPipelined      = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Publish.Pipelined })
	acrossMessages      = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Unicast.Rate })
	acrossMessagesRatio = acrossNodes(func(c *bench.ClusterResult) float64 { return c.UnicastRatio })
	acrossFrames        = acrossNodes(func(c *bench.ClusterResult) float64 { return c.TelemetryRatio * c.Publish.PerSecond })
	acrossFramesRatio   = acrossNodes(func(c *bench.ClusterResult) float64 { return c.TelemetryRatio })
	nearP50             = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Near.P50 })
	nearP99             = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Near.P99 })
	farP50              = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Far.P50 })
	farP99              = acrossNodes(func(c *bench.ClusterResult) float64 { return c.Far.P99 })
)
