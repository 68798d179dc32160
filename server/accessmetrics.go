package server

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/labgate/labgate/internal/access"
)

// accessStats counts what happens to credentials.
type accessStats struct {
	reloads, reloadFailures atomic.Uint64

	// refusedMu guards refusedCredentials, by reason; a leaf.
	refusedMu          sync.Mutex
	refusedCredentials map[access.Reason]uint64
}

func (st *accessStats) refuseCredential(reason access.Reason) {
	st.refusedMu.Lock()
	defer st.refusedMu.Unlock()
	if st.refusedCredentials == nil {
		st.refusedCredentials = make(map[access.Reason]uint64)
	}
	st.refusedCredentials[reason]++
}

// accessCollector reads the counters when it is scraped.
type accessCollector struct {
	s                                        *Server
	refused, reloads, reloadFailures, expiry *prometheus.Desc
}

func newAccessCollector(s *Server) *accessCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("labgate_"+name, help, labels, prometheus.Labels{"node": s.opts.Node})
	}
	return &accessCollector{
		s:              s,
		refused:        d("credentials_refused_total", "Requests and renewals refused because of the credential that they presented, or did not.", "reason"),
		reloads:        d("credential_reloads_total", "Changed files of credentials, and TLS certificates, that were taken over."),
		reloadFailures: d("credential_reload_failures_total", "Changed files of credentials, and TLS certificates, that cannot be used; what they held before stays in force."),
		expiry:         d("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate in use ends, in seconds since 1970; 0 without TLS."),
	}
}

// Describe implements prometheus.Collector.
func (c *accessCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *accessCollector) Collect(ch chan<- prometheus.Metric) {
	st := &c.s.stats.accessStats
	ch <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(st.reloads.Load()))
	ch <- prometheus.MustNewConstMetric(c.reloadFailures, prometheus.CounterValue, float64(st.reloadFailures.Load()))
	ends := 0.0
	if c.s.certificate != nil {
		ends = float64(c.s.certificate.notAfter().Unix())
	}
	ch <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, ends)
	st.refusedMu.Lock()
	defer st.refusedMu.Unlock()
	for reason, n := range st.refusedCredentials {
		ch <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(n), string(reason))
	}
}
