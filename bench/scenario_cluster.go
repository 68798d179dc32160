package bench

import (
	"context"
	"fmt"
)

// ClusterResult compares two nodes, with devices on one and front ends on the
// other, with a single node and with Redis alone.
type ClusterResult struct {
	// Publish is the throughput of Redis alone, with messages of the unicast
	// size; absent without Options.Redis.
	Publish *PublishResult `json:"publish,omitempty"`
	// Unicast is the highest clean rate of messages from front ends to devices
	// across the nodes, and Telemetry that of telemetry frames to one front end.
	// The ratios are to Publish.PerSecond.
	Unicast        *Saturation `json:"unicast,omitempty"`
	UnicastRatio   float64     `json:"unicast_to_publish,omitempty"`
	Telemetry      *Saturation `json:"telemetry,omitempty"`
	TelemetryRatio float64     `json:"telemetry_to_publish,omitempty"`
	// Near and Far are round trips of commands on one node and across.
	Near *Latency `json:"command_one_node,omitempty"`
	Far  *Latency `json:"command_across,omitempty"`
}

// Telemetry of the scenario: frames of a sample to one front end, each like the
// 128 bytes of fanout.
const (
	clusterFrame     = telemetryPayload
	clusterFrontends = 1
	clusterFirst     = 4000 // frames/s of all devices, the first rate tried
)

// cluster measures one part after the other, each with a new population.
func (r *runner) cluster(ctx context.Context, found *problems) error {
	res := &ClusterResult{}
	r.report.Results.Cluster = res
	var err error
	if r.o.Redis != "" {
		if res.Publish, err = measurePublish(ctx, &r.o); err != nil {
			return err
		}
	}
	for _, far := range []bool{false, true} {
		o := r.part(ScenarioCommands)
		if !far {
			o.FrontendTarget = ""
		}
		t, err := r.trial(ctx, o, fmt.Sprintf("%s-c%t", r.o.Prefix, far), o.Duration, o.Timeout)
		if t != nil {
			found.merge(&t.problems)
		}
		if err != nil {
			return err
		}
		if far {
			res.Far = t.results.Commands.Latency
		} else {
			res.Near = t.results.Commands.Latency
		}
	}
	if len(found.list) > 0 {
		return nil // after a fault, rates mean nothing
	}
	o := r.part(ScenarioUnicast)
	o.Devices, o.Rate = o.Frontends, 2000
	if _, res.Unicast, err = r.highest(ctx, o, r.o.Prefix+"-u", found); err != nil {
		return err
	}
	o = r.part(ScenarioFanout)
	o.Frontends, o.Size = clusterFrontends, clusterFrame
	o.Samples = (o.Size - headerSize) / (valueSize * o.Channels)
	o.Rate = clusterFirst / float64(o.Devices)
	if _, res.Telemetry, err = r.highest(ctx, o, r.o.Prefix+"-t", found); err != nil {
		return err
	}
	if p := res.Publish; p != nil && p.PerSecond > 0 {
		res.UnicastRatio = res.Unicast.Rate / p.PerSecond
		res.TelemetryRatio = res.Telemetry.Rate * float64(o.Devices) / p.PerSecond
	}
	return nil
}

// part is the options of a part of the scenario.
func (r *runner) part(scenario string) *Options {
	o := r.o
	o.Scenario = scenario
	return &o
}

// figures returns the figures by which reports are compared, without latencies.
func (c *ClusterResult) figures() (fs []namedFigure) {
	if c.Unicast != nil {
		fs = append(fs, namedFigure{"messages/s across nodes", true, c.Unicast.Rate})
	}
	if c.Telemetry != nil {
		fs = append(fs, namedFigure{"telemetry across nodes, frames/s of each device", true, c.Telemetry.Rate})
	}
	if c.Publish != nil {
		fs = append(fs, namedFigure{"PUBLISH/s", true, c.Publish.PerSecond}, namedFigure{"PUBLISH/s pipelined", true, c.Publish.Pipelined})
	}
	return fs
}

func clusterRows(row rowFunc, c *ClusterResult) {
	if p := c.Publish; p != nil {
		row("Redis alone", fmt.Sprintf("%s messages of %d bytes/s as redis-benchmark publishes, %s/s pipelined", count(p.PerSecond), p.Size, count(p.Pipelined)))
	}
	search := func(name string, s *Saturation, ratio float64, unit string) {
		if s == nil {
			return
		}
		against := ""
		if ratio > 0 {
			against = fmt.Sprintf(", %.2f times Redis alone", ratio)
		}
		saturationRows(row, s)
		row(name, fmt.Sprintf("%s %s%s", count(s.PerSecond), unit, against))
	}
	search("messages across", c.Unicast, c.UnicastRatio, "messages/s")
	search("telemetry across", c.Telemetry, c.TelemetryRatio, "frames/s")
	latencyRow(row, "command, one node", c.Near)
	latencyRow(row, "command, across", c.Far)
}
