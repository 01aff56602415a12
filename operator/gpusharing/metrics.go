package gpusharing

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
)

// Metrics show what the last pass observed.
type Metrics struct {
	mu       sync.Mutex
	last     plan.Report
	slices   *prometheus.Desc
	problems *prometheus.Desc
}

// NewMetrics makes the metrics; they say nothing before the first pass.
func NewMetrics() *Metrics {
	return &Metrics{
		slices: prometheus.NewDesc("vdi_gpu_slices",
			"Slices of shared GPUs per node: planned by the configuration, and allocatable on the node.", []string{"node", "resource", "state"}, nil),
		problems: prometheus.NewDesc("vdi_gpu_sharing_problems",
			"Things that are wrong with GPU sharing: of the configuration, and nodes that do not offer what is planned.", nil, nil),
	}
}

func (m *Metrics) show(r plan.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = r
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.slices
	out <- m.problems
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.Nodes == nil {
		return
	}
	problems := 0
	if m.last.Config.State == plan.WrongConfig {
		problems = len(m.last.Config.Messages)
	}
	for name, n := range m.last.Nodes {
		if n.State == plan.Mismatch || n.State == plan.WrongConfig {
			problems++
		}
		for resource, amount := range n.Planned {
			out <- prometheus.MustNewConstMetric(m.slices, prometheus.GaugeValue, float64(amount), name, resource, "planned")
			out <- prometheus.MustNewConstMetric(m.slices, prometheus.GaugeValue, float64(n.Allocatable[resource]), name, resource, "allocatable")
		}
	}
	out <- prometheus.MustNewConstMetric(m.problems, prometheus.GaugeValue, float64(problems))
}
