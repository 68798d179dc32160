//go:build linux

package main

// A goal is one line of the result: a figure, and its limit.
type goal struct {
	of     string // case
	name   string
	unit   string
	work   string // label
	figure figure
	worst  bool // the highest of all rounds counts, not the median
	// reference is the workload whose figure divides this one, round by round;
	// empty: the figure itself counts.
	reference string
	text      string // of the goal; empty: the figure is shown without a goal
	limit     float64
	least     bool // limit is the least allowed, not the most
}

// flush is the gateway's default flush interval, in µs.
const flush = 1000

// flat is the ratio of costs up to which a delivery to ten times as many front
// ends counts as equal: rounds differ by as much.
const flat = 1.1

var goals = []goal{
	{of: "fanout", name: "limit: deliveries", unit: "/s", work: workLimit, figure: limitRate},
	{of: "fanout", name: "limit: CPU per delivery", unit: "µs", work: workLimit, figure: limitCPU},
	{of: "fanout", name: "fan-out 1 → 200, 128 B, saturation: CPU per delivery", unit: "µs", work: workFanout, figure: serverCPU, reference: workLimit, text: "≤ 2.5 × limit", limit: 2.5},
	{of: "fanout", name: "the same, by itself", unit: "µs", work: workFanout, figure: serverCPU, text: "≤ 0.1 µs", limit: 0.1},
	{of: "fanout", name: "fan-out saturation", unit: "deliveries/s", work: workFanout, figure: saturationRate, text: "≥ 6 M/s", limit: 6e6, least: true},
	nothingLost("fanout", workFanout),

	{of: "fanout-2m", name: "fan-out at 2 M/s: p50", unit: "µs", work: workFanout2M, figure: p50, text: "≤ flush interval + 1 ms", limit: flush + 1000},
	{of: "fanout-2m", name: "p99", unit: "µs", work: workFanout2M, figure: p99, text: "≤ 5 ms", limit: 5000},
	{of: "fanout-2m", name: "server's part of its core", unit: "%", work: workFanout2M, figure: serverShare, text: "≤ 50 %", limit: 50},
	nothingLost("fanout-2m", workFanout2M),

	{of: "low", name: "100/s to 10 front ends: p50", unit: "µs", work: workLow, figure: p50, text: "≤ flush interval + 0.3 ms", limit: flush + 300},
	{of: "low", name: "--flush-interval=0, to 10 at once: p50", unit: "µs", work: workLowNow, figure: p50, reference: workEcho, text: "≤ 1.2 × echo", limit: 1.2},
	{of: "low", name: "--flush-interval=0, one in, one out: p50", unit: "µs", work: workPairsNow, figure: p50, reference: workEcho, text: "≤ 1.2 × echo", limit: 1.2},
	{of: "low", name: "echo: p50", unit: "µs", work: workEcho, figure: p50},

	nothingLost("telemetry-20", workTelemetry20),
	{of: "telemetry-20", name: "20 devices × 10 kHz, a sample a frame, to 5: server's part of its core", unit: "%", work: workTelemetry20, figure: serverShare, text: "< 100 %", limit: 98},
	{of: "telemetry-20", name: "p99", unit: "µs", work: workTelemetry20, figure: p99},

	nothingLost("telemetry-100", workTelemetry100),
	{of: "telemetry-100", name: "100 devices × 10 kHz, 100 samples a frame, to 10: CPU per sample in", unit: "µs", work: workTelemetry100, figure: cpuPerSampleIn},
	{of: "telemetry-100", name: "CPU per sample delivered", unit: "µs", work: workTelemetry100, figure: cpuPerSampleOut},

	{of: "unicast", name: "unicast 200 → 200, 128 B, saturation", unit: "messages/s", work: workUnicast, figure: saturationRate, reference: workRelay, text: "≥ 1.2 × bare relay", limit: 1.2, least: true},
	{of: "unicast", name: "bare relay, saturation", unit: "messages/s", work: workRelay, figure: saturationRate},
	{of: "unicast", name: "unicast at 50 k/s: CPU per message", unit: "µs", work: workUnicastFixed, figure: serverCPU, reference: workRelayFixed},
	{of: "unicast", name: "p99", unit: "µs", work: workUnicastFixed, figure: p99, reference: workRelayFixed},
	nothingLost("unicast", workUnicast, workUnicastFixed),

	{of: "commands", name: "command round trip: p50", unit: "µs", work: workCommands, figure: p50, reference: workRelayCommands, text: "≤ 1.3 × two hops through a bare relay", limit: 1.3},
	{of: "commands", name: "command round trip: p99", unit: "µs", work: workCommands, figure: p99, reference: workRelayCommands},
	{of: "urgent", name: "urgent round trip while telemetry takes the core: p99", unit: "µs", work: workUrgent, figure: urgentP99, text: "≤ 5 ms", limit: 5000},
	{of: "urgent", name: "of this, load program late: p99", unit: "µs", work: workUrgent, figure: lateP99},
	{of: "urgent", name: "server's part of its core meanwhile", unit: "%", work: workUrgent, figure: serverShare},
	{of: "urgent", name: "telemetry dropped meanwhile, as reported", unit: "%", work: workUrgent, figure: dropped},
	nothingLost("urgent", workUrgent),

	{of: "idle", name: "10,000 idle: memory per connection", unit: "KiB", work: workIdle10, figure: idleKiB, reference: workBareIdle10, text: "≤ 1.3 × bare nbio", limit: 1.3},
	{of: "idle", name: "10,000 idle: goroutines per connection", unit: "", work: workIdle10, figure: idleRoutines, text: "≤ 0.001: independent of connections", limit: 0.001},
	{of: "idle", name: "18,000 idle: memory per connection", unit: "KiB", work: workIdle18, figure: idleKiB, reference: workBareIdle18, text: "≤ 1.3 × bare nbio", limit: 1.3},
	{of: "idle", name: "18,000 idle: goroutines per connection", unit: "", work: workIdle18, figure: idleRoutines, text: "≤ 0.001: independent of connections", limit: 0.001},

	{of: "storm", name: "10,000 reconnect at once: not back", unit: "", work: workStorm, figure: stormMissing, worst: true, text: "all back", limit: 0},
	{of: "storm", name: "all back after", unit: "s", work: workStorm, figure: stormSeconds},
	{of: "storm", name: "peak memory", unit: "MiB", work: workStorm, figure: peakMiB},
	{of: "storm", name: "established sessions meanwhile: p99", unit: "µs", work: workStorm, figure: stormP99, text: "≤ 50 ms", limit: 50000},

	{of: "small", name: "GOMEMLIMIT=64MiB, 5,000 idle, 10 devices at 10 kHz, 20 front ends: resident", unit: "MiB", work: workSmall, figure: rssMiB},
	{of: "small", name: "peak memory", unit: "MiB", work: workSmall, figure: peakMiB},
	{of: "small", name: "server's part of its core", unit: "%", work: workSmall, figure: serverShare},
	nothingLost("small", workSmall),

	{of: "cluster", name: "Redis alone, as redis-benchmark publishes 128 B (both processors for everybody, as in all of this case)", unit: "messages/s", work: workCluster, figure: redisAlone},
	{of: "cluster", name: "the same, pipelined", unit: "messages/s", work: workCluster, figure: redisPipelined},
	{of: "cluster", name: "messages across two nodes, 128 B, saturation", unit: "messages/s", work: workCluster, figure: acrossMessages},
	{of: "cluster", name: "the same, to Redis alone", unit: "×", work: workCluster, figure: acrossMessagesRatio, text: "≥ 0.7", limit: 0.7, least: true},
	{of: "cluster", name: "telemetry across, 128 B a frame, saturation", unit: "frames/s", work: workCluster, figure: acrossFrames},
	{of: "cluster", name: "the same, to Redis alone", unit: "×", work: workCluster, figure: acrossFramesRatio, text: "≥ 10", limit: 10, least: true},
	{of: "cluster", name: "command round trip on one node: p50", unit: "µs", work: workCluster, figure: nearP50},
	{of: "cluster", name: "p99", unit: "µs", work: workCluster, figure: nearP99},
	{of: "cluster", name: "across: p50", unit: "µs", work: workCluster, figure: farP50},
	{of: "cluster", name: "p99", unit: "µs", work: workCluster, figure: farP99},

	{of: "scaling", name: "CPU per delivery, 1 M/s to 10 front ends", unit: "µs", work: workScale10, figure: serverCPU},
	{of: "scaling", name: "to 100", unit: "µs", work: workScale100, figure: serverCPU, reference: workLimit100},
	{of: "scaling", name: "to 1,000", unit: "µs", work: workScale1000, figure: serverCPU, reference: workScale100, text: "flat: ≤ 1.1 × 100 front ends", limit: flat},
	{of: "scaling", name: "to 10,000", unit: "µs", work: workScale10000, figure: serverCPU, reference: workScale1000, text: "flat: ≤ 1.1 × 1,000 front ends", limit: flat},
	{of: "scaling", name: "the same, to 1,000, beside as many plain sockets", unit: "µs", work: workScale1000, figure: serverCPU, reference: workLimit1000},
	{of: "scaling", name: "the same, to 10,000, beside as many plain sockets", unit: "µs", work: workScale10000, figure: serverCPU, reference: workLimit10000},
	{of: "scaling", name: "plain sockets, 100", unit: "µs", work: workLimit100, figure: serverCPU},
	{of: "scaling", name: "plain sockets, 1,000", unit: "µs", work: workLimit1000, figure: serverCPU, reference: workLimit100},
	{of: "scaling", name: "plain sockets, 10,000", unit: "µs", work: workLimit10000, figure: serverCPU, reference: workLimit1000},
	nothingLost("scaling", workScale10, workScale100, workScale1000, workScale10000),
}

// nothingLost is a goal of several workloads at once, and of every round.
func nothingLost(of string, workloads ...string) goal {
	g := goal{of: of, name: "lost, twice, damaged or unanswered", figure: faults, worst: true, text: "nothing", limit: 0}
	for i, w := range workloads {
		if i > 0 {
			g.work += "\n"
		}
		g.work += w
	}
	return g
}
