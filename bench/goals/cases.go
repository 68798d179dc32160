//go:build linux

package main

// A testCase is measured together: the gateway and its references follow each
// other directly, so that a drift of the machine affects them alike.
type testCase struct {
	name      string
	rounds    int      // at most; 0: as many as asked for
	after     []string // cases whose results this one needs
	workloads []workload
}

// workload is one server with the load on it.
type workload struct {
	label string
	// server is the program and its arguments; a program that measures itself
	// has no loads.
	server []string
	env    []string
	shared bool // the server may use the load's processor as well
	nodes  bool // with a second gateway and a Redis; all programs use both processors
	loads  []load
}

// load is one run of labgate bench. The loads of a workload run at once.
type load struct {
	args []string
	// after: the load starts when the server has that many descriptors, that is,
	// when the connections of the other loads are open.
	after int
	// outlast: the load runs longer than the other loads, which need time to
	// start and to end.
	outlast bool
	// rate is what --rate gets, when it depends on earlier results.
	rate func(*runner) (float64, error)
}

// gateway is the server under test. Text of a session is not limited, because the
// references have no such limit.
func gateway(options ...string) []string {
	return append([]string{"labgate", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-json", "--max-message-rate", "0"}, options...)
}

// reference is one of the bare servers of bench/limit.
func reference(name string) []string { return []string{"limit", name, "--json"} }

// limitOf writes to plain sockets, ten frames of 132 bytes at a time.
func limitOf(sockets string) []string {
	return []string{"limit", "stream", "--json", "--receivers", sockets, "--payload", "128", "--write", "1320"}
}

func benchRun(args ...string) []load { return []load{{args: args}} }

// search finds the saturation rate; the first rate is clean on any machine.
func search(rate string, args ...string) []load {
	return benchRun(append(args, "--saturate", "--rate", rate)...)
}

// Labels that goals refer to.
const (
	workLimit         = "limit"
	workFanout        = "fan-out saturation"
	workFanout2M      = "fan-out 2 M/s"
	workLow           = "low load"
	workLowNow        = "low load, no flush interval"
	workPairsNow      = "one in, one out, no flush interval"
	workEcho          = "bare echo"
	workTelemetry20   = "20 devices at 10 kHz"
	workTelemetry100  = "100 devices at 10 kHz"
	workUnicast       = "unicast saturation"
	workRelay         = "bare relay saturation"
	workUnicastFixed  = "unicast 50 k/s"
	workRelayFixed    = "bare relay 50 k/s"
	workCommands      = "commands"
	workRelayCommands = "commands, bare relay"
	workUrgent        = "urgent commands under load"
	workIdle10        = "idle 10,000"
	workBareIdle10    = "bare idle 10,000"
	workIdle18        = "idle 18,000"
	workBareIdle18    = "bare idle 18,000"
	workStorm         = "storm 10,000"
	workSmall         = "small hardware"
	workCluster       = "two nodes"
	workScale10       = "10 front ends"
	workScale100      = "100 front ends"
	workScale1000     = "1,000 front ends"
	workScale10000    = "10,000 front ends"
	workLimit100      = "limit, 100 sockets"
	workLimit1000     = "limit, 1,000 sockets"
	workLimit10000    = "limit, 10,000 sockets"
)

var cases = []testCase{
	{name: "fanout", workloads: []workload{
		// Its 128 bytes are the payload of a frame, as a telemetry frame is.
		{label: workLimit, server: []string{"limit", "stream", "--json", "--receivers", "200", "--payload", "128"}},
		{label: workFanout, server: gateway(), loads: search("4000", "fanout")},
	}},
	{name: "fanout-2m", workloads: []workload{
		{label: workFanout2M, server: gateway(), loads: benchRun("fanout", "--rate", "10000")},
	}},
	{name: "low", workloads: []workload{
		{label: workLow, server: gateway(), loads: benchRun("fanout", "--frontends", "10", "--rate", "100")},
		// The echo passes 1000 messages/s, each in one write, evenly spread in
		// time and over ten connections. The gateway does the same amount in
		// two ways. To ten front ends at once, a message in the middle waits
		// until half of the ten have been written and read. The echo never has
		// this wait, so this comparison is strict. From ten devices to one
		// front end the work is equal: one message in, one out, then a pause.
		{label: workLowNow, server: gateway("--flush-interval", "0"), loads: benchRun("fanout", "--frontends", "10", "--rate", "100")},
		{label: workEcho, server: reference("echo"), loads: benchRun("unicast", "--bare", "echo", "--frontends", "10", "--rate", "1000")},
		{label: workPairsNow, server: gateway("--flush-interval", "0"), loads: benchRun("fanout", "--devices", "10", "--frontends", "1", "--rate", "100")},
	}},
	{name: "telemetry-20", workloads: []workload{
		{label: workTelemetry20, server: gateway(), loads: benchRun("telemetry", "--devices", "20", "--samples", "1", "--frontends", "5")},
	}},
	{name: "telemetry-100", workloads: []workload{
		{label: workTelemetry100, server: gateway(), loads: benchRun("telemetry", "--devices", "100", "--samples", "100", "--frontends", "10")},
	}},
	{name: "unicast", workloads: []workload{
		{label: workUnicast, server: gateway(), loads: search("20000", "unicast")},
		{label: workRelay, server: reference("relay"), loads: search("20000", "unicast", "--bare", "relay")},
		// The cost of a message at a rate well below saturation of both: at
		// saturation the load program may be the limit, and servers that join
		// waiting messages need less CPU for each message the longer messages
		// wait.
		{label: workRelayFixed, server: reference("relay"), loads: benchRun("unicast", "--bare", "relay", "--rate", "50000")},
		{label: workUnicastFixed, server: gateway(), loads: benchRun("unicast", "--rate", "50000")},
	}},
	{name: "commands", workloads: []workload{
		// Ten pairs on both sides; a round trip through the relay is two hops.
		{label: workCommands, server: gateway(), loads: benchRun("commands")},
		{label: workRelayCommands, server: reference("relay"), loads: benchRun("commands", "--bare", "relay")},
	}},
	{name: "urgent", after: []string{"fanout"}, workloads: []workload{
		// Nine tenths of the rate that fan-out sustains: nearly all of the
		// server's core, while the load program still keeps its schedule. At a
		// higher rate a queue would grow before the server, and the latency
		// would depend on the length of the run. The load program's lateness is
		// part of every round trip and is shown with it. The commands are for
		// devices that send no telemetry: an answer of one that does waits
		// behind the telemetry in the device's own connection, which no gateway
		// can change. Telemetry that is lost because another program ran for a
		// moment, and that the gateway reports exactly, is shown too and is no
		// fault here.
		{label: workUrgent, server: gateway(), loads: []load{{
			args: []string{"fanout", "--command-rate", "200", "--command-devices", "10", "--urgent-share", "1", "--tick", "500us", "--allow-loss"},
			rate: func(r *runner) (float64, error) { return r.saturation(workFanout, 0.9) },
		}}},
	}},
	{name: "idle", rounds: 3, workloads: []workload{
		{label: workIdle10, server: gateway(), loads: benchRun("idle", "--connections", "10000")},
		{label: workBareIdle10, server: reference("idle"), loads: benchRun("idle", "--bare", "idle", "--connections", "10000")},
		{label: workIdle18, server: gateway(), loads: benchRun("idle", "--connections", "18000")},
		{label: workBareIdle18, server: reference("idle"), loads: benchRun("idle", "--bare", "idle", "--connections", "18000")},
	}},
	{name: "storm", workloads: []workload{
		// A little less than 10,000, as for a moment each client has two
		// descriptors, the old one and the new one, and 20,000 is a usual
		// limit. Ten devices and ten front ends continue with their commands
		// meanwhile.
		{label: workStorm, server: gateway(), loads: benchRun("storm", "--connections", "9900")},
	}},
	{name: "small", rounds: 1, workloads: []workload{
		{label: workSmall, server: gateway(), env: []string{"GOMEMLIMIT=64MiB"}, loads: []load{
			{args: []string{"idle", "--connections", "5000"}, outlast: true},
			{args: []string{"telemetry", "--devices", "10", "--samples", "10", "--frontends", "20"}, after: 5000},
		}},
	}},
	{name: "cluster", rounds: 3, workloads: []workload{
		// Two gateways, Redis and the load share both processors, as Redis and
		// the load do alone. One front end takes all the telemetry: 1 MiB of
		// it, the default, is there in a few milliseconds, and another program
		// may have the processor for that long.
		{label: workCluster, server: gateway("--telemetry-bytes", "4194304"), nodes: true, loads: benchRun("cluster")},
	}},
	{name: "scaling", workloads: []workload{
		// A million deliveries/s each, and as far as possible the same number
		// of frames in each write: messages that are due within --tick leave
		// the device together, ten at a time, so that 100, 1,000 and 10,000
		// front ends all make 100,000 writes/s. (Ten front ends cannot: the
		// flush interval gives them 1,000 writes/s each, of a hundred frames.)
		// Latency counts from when a message was due and means nothing here.
		{label: workScale10, server: gateway(), loads: benchRun("fanout", "--frontends", "10", "--rate", "100000", "--tick", "1ms")},
		{label: workScale100, server: gateway(), loads: benchRun("fanout", "--frontends", "100", "--rate", "10000", "--tick", "1ms")},
		{label: workScale1000, server: gateway(), loads: benchRun("fanout", "--frontends", "1000", "--rate", "1000", "--tick", "10ms")},
		{label: workScale10000, server: gateway(), loads: benchRun("fanout", "--frontends", "10000", "--rate", "100", "--tick", "100ms")},
		// The same bytes to the same number of plain sockets, ten frames in
		// each write: the kernel's cost of more sockets.
		{label: workLimit100, server: limitOf("100")},
		{label: workLimit1000, server: limitOf("1000")},
		{label: workLimit10000, server: limitOf("10000")},
	}},
}
