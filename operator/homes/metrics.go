package homes

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Metrics counts retained homes, from the cache and only when somebody scrapes.
type Metrics struct {
	reader client.Reader
	homes  *prometheus.Desc
	bytes  *prometheus.Desc
}

// NewMetrics makes the metrics.
func NewMetrics(cache client.Reader) *Metrics {
	return &Metrics{
		reader: cache,
		homes: prometheus.NewDesc("vdi_homes_retained",
			"Homes that their sessions have left behind.", nil, nil),
		bytes: prometheus.NewDesc("vdi_homes_retained_bytes",
			"Storage in bytes that homes left behind ask for.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.homes
	out <- m.bytes
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	list := &corev1.PersistentVolumeClaimList{}
	err := m.reader.List(context.Background(), list, client.HasLabels{wire.LabelRetained}, client.UnsafeDisableDeepCopy)
	var unread *cache.ErrResourceNotCached
	switch {
	case errors.As(err, &unread):
		return // a standby reads no claims, and an invalid metric would hide all others
	case err != nil:
		out <- prometheus.NewInvalidMetric(m.homes, err)
		return
	}
	var homes, bytes float64
	for i := range list.Items {
		claim := &list.Items[i]
		if !kept.MadeByOperator(claim) {
			continue
		}
		homes++
		bytes += claim.Spec.Resources.Requests.Storage().AsApproximateFloat64()
	}
	out <- prometheus.MustNewConstMetric(m.homes, prometheus.GaugeValue, homes)
	out <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, bytes)
}
