package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/labgate/labgate/session"
)

// gatewayCollector reads the counters when it is scraped: nothing on the hot path
// knows of Prometheus.
type gatewayCollector struct {
	from Sources

	sessions, devices, connections            *prometheus.Desc
	connects, closes, handshakes              *prometheus.Desc
	refusedConnections, acceptErrors, panics  *prometheus.Desc
	textIn, telemetryIn, samplesIn            *prometheus.Desc
	textOut, telemetryOut, samplesOut         *prometheus.Desc
	bytesOut, writes, writeErrors             *prometheus.Desc
	lostSamples, lostFrames                   *prometheus.Desc
	commands, answers, errors                 *prometheus.Desc
	badMessages, rateLimited                  *prometheus.Desc
	replacements, replaceAlarms, growthAlarms *prometheus.Desc
	health, build                             *prometheus.Desc
}

func newGatewayCollector(from Sources) *gatewayCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("labgate_"+name, help, labels, prometheus.Labels{"node": from.Node})
	}
	return &gatewayCollector{
		from:               from,
		sessions:           d("sessions", "Open sessions.", "role"),
		devices:            d("devices", "Connected devices."),
		connections:        d("connections", "Open connections on the public listener, sessions or not."),
		connects:           d("sessions_total", "Sessions since the start."),
		closes:             d("session_closes_total", "Ended sessions.", "reason"),
		handshakes:         d("handshakes_refused_total", "Refused handshakes.", "reason"),
		refusedConnections: d("connections_refused_total", "Connections refused: at the limit in all (connections), of their address (address) or per second (rate).", "reason"),
		acceptErrors:       d("accept_errors_total", "Connections that could not be accepted."),
		panics:             d("panics_total", "Panics that ended one session."),
		textIn:             d("text_messages_in_total", "Text messages received."),
		telemetryIn:        d("telemetry_frames_in_total", "Telemetry frames received."),
		samplesIn:          d("samples_in_total", "Samples per channel received."),
		textOut:            d("text_messages_out_total", "Text messages sent."),
		telemetryOut:       d("telemetry_frames_out_total", "Telemetry frames sent, counted for each receiver."),
		samplesOut:         d("samples_out_total", "Samples per channel sent, counted for each receiver."),
		bytesOut:           d("bytes_out_total", "Bytes sent."),
		writes:             d("writes_total", "Writes to connections."),
		writeErrors:        d("write_errors_total", "Writes that failed and ended their session."),
		lostSamples:        d("samples_lost_total", "Samples per channel that did not reach a front end and were told to it as lost, counted for each front end: dropped by its full queue, or lost between nodes."),
		lostFrames:         d("telemetry_frames_lost_total", "Telemetry frames that a receiver's full queue dropped."),
		commands:           d("commands_total", "Messages delivered to a device's queue."),
		answers:            d("answers_total", "Answers of devices given to their askers."),
		errors:             d("errors_total", "Errors told to peers.", "code"),
		badMessages:        d("bad_messages_total", "Messages refused as unacceptable."),
		rateLimited:        d("rate_limited_total", "Messages refused because of a rate limit, in messages or in bytes.", "limit"),
		replacements:       d("device_replacements_total", "Device connections that replaced an older one."),
		replaceAlarms:      d("device_replacement_alarms_total", "Devices that were replaced again and again."),
		growthAlarms:       d("session_growth_alarms_total", "Unusual growths of the number of sessions."),
		health:             d("sessions_by_health", "Open sessions by health.", "role", "state"),
		build:              d("build_info", "Always 1; the label says which version runs.", "version"),
	}
}

// Describe implements prometheus.Collector.
func (c *gatewayCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *gatewayCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c.collectSessions(gauge)
	gauge(c.build, 1, c.from.Version)

	admitted := c.from.Admission
	gauge(c.connections, float64(admitted.Connections.Load()))
	for reason, n := range admitted.RefusedConnections.All() {
		count(c.refusedConnections, n, reason)
	}
	count(c.acceptErrors, c.from.Loop.AcceptErrors.Load())
	count(c.panics, c.from.Panics.Count())
	for reason, n := range admitted.RefusedRequests.All() {
		count(c.handshakes, n, reason)
	}

	st := c.from.Sessions.Stats()
	count(c.connects, st.Connects.Load())
	for reason, n := range st.Closes() {
		count(c.closes, n, reason)
	}
	count(c.textOut, st.MessagesOut.Load())
	count(c.telemetryOut, st.TelemetryFramesOut.Load())
	count(c.samplesOut, st.SamplesOut.Load())
	count(c.bytesOut, st.BytesOut.Load())
	count(c.writes, st.Writes.Load())
	count(c.writeErrors, st.WriteErrors.Load())
	count(c.lostSamples, st.LostSamples.Load())
	count(c.lostFrames, st.LostFrames.Load())
	count(c.badMessages, st.BadMessages.Load())
	inBytes := st.ByteRateLimited.Load()
	count(c.rateLimited, inBytes, "bytes")
	count(c.rateLimited, st.RateLimited.Load()-inBytes, "messages")
	count(c.replacements, st.Replacements.Load())
	count(c.replaceAlarms, st.ReplaceAlarms.Load())
	count(c.growthAlarms, st.GrowthAlarms.Load())

	rt := c.from.Router
	count(c.textIn, rt.TextIn.Load())
	count(c.telemetryIn, rt.TelemetryFramesIn.Load())
	count(c.samplesIn, rt.SamplesIn.Load())
	count(c.commands, rt.Commands.Load())
	count(c.answers, rt.Answers.Load())
	for code, n := range rt.Errors() {
		count(c.errors, n, string(code))
	}
}

func (c *gatewayCollector) collectSessions(gauge func(*prometheus.Desc, float64, ...string)) {
	type key struct {
		role  session.Role
		state session.HealthState
	}
	byState := map[key]int{}
	byRole := map[session.Role]int{}
	for _, s := range c.from.Sessions.Sessions() {
		byRole[s.Role()]++
		byState[key{s.Role(), s.Health().State}]++
	}
	gauge(c.devices, float64(c.from.Sessions.Devices()))
	for _, role := range c.from.Roles {
		gauge(c.sessions, float64(byRole[role]), role.String())
		for _, state := range []session.HealthState{session.Healthy, session.Degraded, session.Unresponsive} {
			gauge(c.health, float64(byState[key{role, state}]), role.String(), string(state))
		}
	}
}
