// Package metrics shows the gateway's counters to Prometheus. They are read when
// they are asked for: nothing on the hot path knows of Prometheus.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Sources is where the metrics come from. All are required.
type Sources struct {
	// Node and Version are this gateway's, in labels.
	Node, Version string
	// Roles are those that sessions may have.
	Roles []session.Role

	Sessions  *session.Manager
	Router    *router.Stats
	Admission *admission.Counters
	Loop      *eventloop.Counters
	Panics    *panics.Recoverer
	Bus       federation.Bus
	// Devices are the devices with metrics of their own, and how many others there
	// are.
	Devices func() (list []router.DeviceMetrics, omitted int)
	// CertificateExpiry is when the TLS certificate in use ends; zero without
	// TLS.
	CertificateExpiry func() time.Time
}

// Handler serves the metrics in Prometheus' text format, with those of the Go
// runtime and the process. A gateway alone has none of the bus.
func Handler(from Sources) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGatewayCollector(from), newCredentialCollector(from), newDeviceCollector(from))
	if from.Bus.Self() != 0 {
		registry.MustRegister(newBusCollector(from.Node, from.Bus, from.Router))
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
