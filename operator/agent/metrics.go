package agent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Results of logins with a password, the values of the label result.
const (
	resultAccepted = "accepted"
	resultWrong    = "wrong"
	resultLimited  = "limited"
)

// metrics name no person and no session: the scraper knows the pod.
type metrics struct {
	registry       *prometheus.Registry
	logins, denied *prometheus.CounterVec
	// bytes are read as they pass, so they are no prometheus counters.
	bytes counts
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_agent_logins_total", Help: "Passwords that were tried, by result.",
		}, []string{"result"}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_agent_denied_total", Help: "Requests that were refused, by reason.",
		}, []string{"reason"}),
	}
	m.registry.MustRegister(
		m.logins, m.denied,
		m.bytesOf("in", func() float64 { return float64(m.bytes.in.Load()) }),
		m.bytesOf("out", func() float64 { return float64(m.bytes.out.Load()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *metrics) bytesOf(direction string, read func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "vdi_agent_bytes_total", Help: "Bytes from (in) and to (out) visitors, without HTTP headers.",
		ConstLabels: prometheus.Labels{"direction": direction},
	}, read)
}

// observe adds what the agent counts anyway.
func (m *metrics) observe(a *activity) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vdi_agent_clients", Help: "Visitors with an open WebSocket."},
			func() float64 { return float64(a.clients()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vdi_agent_streams", Help: "Open WebSockets."},
			func() float64 { return float64(a.openStreams()) }),
	)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
