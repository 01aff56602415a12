package session

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// Metrics counts what happens to sessions. No user's name is ever a label.
type Metrics struct {
	reader   client.Reader
	duration *prometheus.HistogramVec
	start    *prometheus.HistogramVec
	stops    *prometheus.CounterVec
	slices   *prometheus.CounterVec
	idle     *prometheus.CounterVec
	hours    *prometheus.CounterVec
	quotas   *prometheus.CounterVec
	total    *prometheus.Desc
	sessions *prometheus.Desc
}

// NewMetrics makes the metrics; sessions are counted from the cache when
// somebody scrapes, so that no number can drift from the truth.
func NewMetrics(cache client.Reader) *Metrics {
	return &Metrics{
		reader: cache,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vdi_session_duration_seconds",
			Help:    "How long runs of desktops lasted, from Running to their stop.",
			Buckets: []float64{60, 300, 900, 1800, 3600, 7200, 14400},
		}, []string{"template"}),
		start: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vdi_session_start_seconds",
			Help:    "How long desktops took from the creation of their pod to Running.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800},
		}, []string{"template"}),
		stops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_session_stops_total",
			Help: "Runs of desktops that stopped, by reason.",
		}, []string{"reason"}),
		slices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_session_gpu_slice_seconds_total",
			Help: "GPU slices times the seconds that runs held them, counted when a run stops.",
		}, []string{"template"}),
		idle: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_session_idle_seconds_total",
			Help: "Seconds between the last known use of desktops and the stop of their run.",
		}, []string{"template"}),
		hours: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_gpu_seconds_total",
			Help: "GPU slices times the template's gpu.cost times the seconds that pods held them, counted when a pod is over; 3600 are a GPU-hour.",
		}, []string{"template"}),
		quotas: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vdi_quota_gpu_seconds_total",
			Help: "What of vdi_gpu_seconds_total counted for a VDIQuota's gpuHours.",
		}, []string{"quota"}),
		total: prometheus.NewDesc("vdi_sessions_total",
			"Sessions by phase. A gauge, despite its name, which is a promise; see vdi_sessions.", []string{"phase"}, nil),
		sessions: prometheus.NewDesc("vdi_sessions",
			"Sessions by phase and template.", []string{"phase", "template"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	m.duration.Describe(out)
	m.start.Describe(out)
	m.stops.Describe(out)
	m.slices.Describe(out)
	m.idle.Describe(out)
	m.hours.Describe(out)
	m.quotas.Describe(out)
	out <- m.total
	out <- m.sessions
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.duration.Collect(out)
	m.start.Collect(out)
	m.stops.Collect(out)
	m.slices.Collect(out)
	m.idle.Collect(out)
	m.hours.Collect(out)
	m.quotas.Collect(out)
	list := &vdi.VDISessionList{}
	if err := m.reader.List(context.Background(), list, client.UnsafeDisableDeepCopy); err != nil {
		out <- prometheus.NewInvalidMetric(m.sessions, err)
		return
	}
	m.collectSessions(out, list.Items)
}

func (m *Metrics) collectSessions(out chan<- prometheus.Metric, items []vdi.VDISession) {
	type group struct{ phase, template string }
	byPhase, byGroup := map[string]int{}, map[group]int{}
	for _, phase := range allPhases() {
		byPhase[string(phase)] = 0
	}
	for i := range items {
		phase := string(items[i].Status.Phase)
		if phase == "" {
			phase = string(vdi.PhasePending)
		}
		byPhase[phase]++
		byGroup[group{phase, items[i].Spec.Template}]++
	}
	for phase, n := range byPhase {
		out <- prometheus.MustNewConstMetric(m.total, prometheus.GaugeValue, float64(n), phase)
	}
	for g, n := range byGroup {
		out <- prometheus.MustNewConstMetric(m.sessions, prometheus.GaugeValue, float64(n), g.phase, g.template)
	}
}

func allPhases() []vdi.Phase {
	return []vdi.Phase{
		vdi.PhasePending, vdi.PhaseCreating, vdi.PhaseRunning,
		vdi.PhaseSuspended, vdi.PhaseTerminating, vdi.PhaseFailed,
	}
}

// observe counts the starts and stops that one pass made.
func (m *Metrics) observe(before, after *vdi.VDISession, p *plan.Pass) {
	template := after.Spec.Template
	begun, was := after.Status.StartTime, before.Status.StartTime
	if was == nil && begun != nil && after.Status.Timings != nil && after.Status.Timings.Queued != nil {
		m.start.WithLabelValues(template).Observe(begun.Sub(after.Status.Timings.Queued.Time).Seconds())
	}
	if was != nil && (begun == nil || p.LetGo) {
		m.stops.WithLabelValues(string(stopReasonOf(after))).Inc()
		m.observeRun(before.Status, template, p.Now)
	}
	if run := p.RunOver; run != nil && run.Rate > 0 && (p.LetGo || lastRun(before) != lastRun(after)) {
		m.hours.WithLabelValues(run.Template).Add(float64(run.GPUSeconds()))
		for _, quota := range run.Quotas {
			m.quotas.WithLabelValues(quota).Add(float64(run.GPUSeconds()))
		}
	}
}

// lastRun is the pod of the last run that was counted; "": there was none.
func lastRun(s *vdi.VDISession) (pod types.UID) {
	if n := len(s.Status.Runs); n > 0 {
		pod = s.Status.Runs[n-1].PodUID
	}
	return pod
}

// observeRun counts what a run that has stopped took.
func (m *Metrics) observeRun(run vdi.VDISessionStatus, template string, now time.Time) {
	lasted := max(now.Sub(run.StartTime.Time).Truncate(time.Second), 0)
	m.duration.WithLabelValues(template).Observe(lasted.Seconds())
	if run.GPU != nil {
		m.slices.WithLabelValues(template).Add(float64(run.GPU.Count) * lasted.Seconds())
	}
	if run.Activity != nil && run.Activity.LastActivityTime != nil {
		m.idle.WithLabelValues(template).Add(max(now.Sub(run.Activity.LastActivityTime.Time), 0).Seconds())
	}
}

func stopReasonOf(s *vdi.VDISession) vdi.StopReason {
	if s.Status.StopReason == "" {
		return vdi.StopUser
	}
	return s.Status.StopReason
}
