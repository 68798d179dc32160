package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/labgate/labgate/session"
)

// deviceCollector reads the metrics of single devices when it is scraped.
type deviceCollector struct {
	from                                                      Sources
	online, lastSeen, health, samplesIn, samplesLost, omitted *prometheus.Desc
}

func newDeviceCollector(from Sources) *deviceCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("labgate_device_"+name, help, labels, prometheus.Labels{"node": from.Node})
	}
	return &deviceCollector{
		from:        from,
		online:      d("online", "1 while the device is connected, to this node or another, 0 after that.", "device"),
		lastSeen:    d("last_seen_timestamp_seconds", "When this node last heard from the device, in seconds since 1970.", "device"),
		health:      d("health_score", "Health of the device's connection from 0 to 100; 0 while it is offline. None while the device is connected to another node.", "device"),
		samplesIn:   d("samples_in_total", "Samples per channel received from the device.", "device"),
		samplesLost: d("samples_lost_total", "Samples per channel of the device that did not reach front ends of this node: dropped by a front end's full queue, counted for each front end (slow_consumer), or lost between nodes, counted once (bus).", "device", "cause"),
		omitted:     d("metrics_omitted", "Known devices that have no metrics of their own, because of --device-metrics."),
	}
}

// Describe implements prometheus.Collector.
func (c *deviceCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.online, c.lastSeen, c.health, c.samplesIn, c.samplesLost, c.omitted} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *deviceCollector) Collect(ch chan<- prometheus.Metric) {
	list, omitted := c.from.Devices()
	ch <- prometheus.MustNewConstMetric(c.omitted, prometheus.GaugeValue, float64(omitted))
	for i := range list {
		d := &list[i]
		gauge := func(desc *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, d.Device)
		}
		count := func(desc *prometheus.Desc, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), append([]string{d.Device}, labels...)...)
		}
		online := 0.0
		if d.Online {
			online = 1
		}
		gauge(c.online, online)
		if !d.Remote {
			gauge(c.health, float64(d.Health))
		}
		// A device that was never connected here is the other nodes' to tell of.
		if !d.LastSeen.IsZero() {
			gauge(c.lastSeen, float64(d.LastSeen.UnixMilli())/1000)
			count(c.samplesIn, d.SamplesIn)
		}
		count(c.samplesLost, d.Dropped, string(session.LossSlowConsumer))
		count(c.samplesLost, d.LostBetweenNodes, string(session.LossBus))
	}
}
