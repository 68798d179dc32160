package metrics

import "github.com/prometheus/client_golang/prometheus"

// credentialCollector reads the counters when it is scraped.
type credentialCollector struct {
	from                                     Sources
	refused, reloads, reloadFailures, expiry *prometheus.Desc
}

func newCredentialCollector(from Sources) *credentialCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("labgate_"+name, help, labels, prometheus.Labels{"node": from.Node})
	}
	return &credentialCollector{
		from:           from,
		refused:        d("credentials_refused_total", "Requests and renewals refused because of the credential that they presented, or did not.", "reason"),
		reloads:        d("credential_reloads_total", "Changed files of credentials, and TLS certificates, that were taken over."),
		reloadFailures: d("credential_reload_failures_total", "Changed files of credentials, and TLS certificates, that cannot be used; what they held before stays in force."),
		expiry:         d("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate in use ends, in seconds since 1970; 0 without TLS."),
	}
}

// Describe implements prometheus.Collector.
func (c *credentialCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c *credentialCollector) Collect(ch chan<- prometheus.Metric) {
	admitted, loop := c.from.Admission, c.from.Loop
	ch <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(admitted.Reloads.Load()+loop.CertificateReloads.Load()))
	ch <- prometheus.MustNewConstMetric(c.reloadFailures, prometheus.CounterValue, float64(admitted.ReloadFailures.Load()+loop.CertificateReloadFailures.Load()))
	ends := 0.0
	if expiry := c.from.CertificateExpiry(); !expiry.IsZero() {
		ends = float64(expiry.Unix())
	}
	ch <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, ends)
	for reason, n := range admitted.RefusedCredentials.All() {
		ch <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(n), reason)
	}
}
