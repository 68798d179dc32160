package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/router/federation"
)

// busCollector reads the counters of the bus when it is scraped. A node alone
// has none.
type busCollector struct {
	bus    federation.Bus
	router *router.Stats

	up, nodes                                               *prometheus.Desc
	sent, sentBytes, received, receivedBytes                *prometheus.Desc
	publishes, droppedTelemetry                             *prometheus.Desc
	lost, stale, malformed, ingressAccepted, ingressRefused *prometheus.Desc
	outages, outageSeconds                                  *prometheus.Desc
	lostSamples                                             *prometheus.Desc
}

func newBusCollector(node string, bus federation.Bus, router *router.Stats) *busCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("labgate_bus_"+name, help, labels, prometheus.Labels{"node": node})
	}
	return &busCollector{
		bus:              bus,
		router:           router,
		up:               d("up", "1 when the other nodes can be reached, 0 when not."),
		nodes:            d("nodes", "Other nodes that are there."),
		sent:             d("sent_total", "Messages and batches of telemetry sent to other nodes."),
		sentBytes:        d("sent_bytes_total", "Bytes sent to other nodes."),
		received:         d("received_total", "Messages and batches of telemetry received from other nodes."),
		receivedBytes:    d("received_bytes_total", "Bytes received from other nodes."),
		publishes:        d("publishes_total", "PUBLISH commands that carried what was sent."),
		droppedTelemetry: d("telemetry_dropped_total", "Batches of telemetry that gave way before they left; their samples are told lost."),
		lost:             d("packets_lost_total", "Packets of other nodes that never came."),
		stale:            d("packets_stale_total", "Packets of other nodes that came too late to be acted upon."),
		malformed:        d("packets_malformed_total", "Packets that could not be read."),
		ingressAccepted:  d("ingress_messages_total", "Messages that other programs published and that were accepted."),
		ingressRefused:   d("ingress_refused_total", "Messages that other programs published and that were not accepted.", "reason"),
		outages:          d("outages_total", "Times that the other nodes could not be reached any longer."),
		lostSamples:      prometheus.NewDesc("labgate_samples_lost_between_nodes_total", "Samples per channel of other nodes' devices that were lost on their way to this node, counted once however many receivers were told.", nil, prometheus.Labels{"node": node}),
		outageSeconds:    d("outage_seconds_total", "How long the other nodes could not be reached, in all."),
	}
}

// Describe implements prometheus.Collector.
func (c *busCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *busCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.bus.Stats()
	up := 0.0
	if c.bus.Up() {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	ch <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(st.Nodes))
	for _, m := range []struct {
		desc  *prometheus.Desc
		value uint64
	}{
		{c.sent, st.Sent}, {c.sentBytes, st.SentBytes}, {c.received, st.Received}, {c.receivedBytes, st.ReceivedBytes},
		{c.publishes, st.Publishes}, {c.droppedTelemetry, st.DroppedTelemetry},
		{c.lost, st.Lost}, {c.stale, st.Stale}, {c.malformed, st.Malformed}, {c.ingressAccepted, st.IngressAccepted}, {c.outages, st.Outages},
		{c.lostSamples, c.router.LostBetweenNodes.Load()},
	} {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value))
	}
	for reason, n := range st.IngressRefused {
		ch <- prometheus.MustNewConstMetric(c.ingressRefused, prometheus.CounterValue, float64(n), reason)
	}
	ch <- prometheus.MustNewConstMetric(c.outageSeconds, prometheus.CounterValue, st.OutageSeconds)
}
