package session

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// samples are the values of all counters, and the sums and counts of all
// histograms, by name and label value.
func samples(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.duration, m.start, m.stops, m.slices, m.idle, m.hours, m.quotas)
	families, err := registry.Gather()
	require.NoError(t, err)
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			require.Len(t, metric.GetLabel(), 1)
			name := family.GetName() + " " + metric.GetLabel()[0].GetValue()
			if h := metric.GetHistogram(); h != nil {
				found[name] = h.GetSampleSum()
				found[name+" count"] = float64(h.GetSampleCount())
				continue
			}
			found[name] = metric.GetCounter().GetValue()
		}
	}
	return found
}

// A run of two slices, started in 30 seconds, last used after 40 minutes and
// Ended after an hour.
func TestMetricsOfARun(t *testing.T) {
	waiting := fixture.Session()
	waiting.Status.Timings = &vdi.TimingsStatus{Queued: fixture.At(fixture.Noon.Add(-30 * time.Second))}
	running := waiting.DeepCopy()
	running.Status.StartTime = fixture.At(fixture.Noon)
	running.Status.GPU = &vdi.GPUStatus{Count: 2}
	running.Status.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(fixture.Noon.Add(40 * time.Minute))}
	started := map[string]float64{"vdi_session_start_seconds tpl": 30, "vdi_session_start_seconds tpl count": 1}
	ended := func(reason string) map[string]float64 {
		return map[string]float64{
			"vdi_session_start_seconds tpl": 30, "vdi_session_start_seconds tpl count": 1,
			"vdi_session_stops_total " + reason:       1,
			"vdi_session_duration_seconds tpl":        3600,
			"vdi_session_duration_seconds tpl count":  1,
			"vdi_session_gpu_slice_seconds_total tpl": 7200,
			"vdi_session_idle_seconds_total tpl":      1200,
		}
	}
	suspended := func(reason vdi.StopReason) *vdi.VDISession {
		s := running.DeepCopy()
		s.Status.StartTime, s.Status.Activity, s.Status.StopReason = nil, nil, reason
		return s
	}
	removed := func(reason vdi.StopReason) *vdi.VDISession {
		s := running.DeepCopy()
		s.Status.StopReason = reason
		return s
	}
	for name, c := range map[string]struct {
		after *vdi.VDISession
		letGo bool
		want  map[string]float64
	}{
		"goes on":             {running, false, started},
		"suspended by a user": {suspended(vdi.StopUser), false, ended("User")},
		"suspended when idle": {suspended(vdi.StopIdle), false, ended("Idle")},
		"expired":             {removed(vdi.StopExpired), true, ended("Expired")},
		"deleted by a person": {removed(""), true, ended("User")},
		"not gone yet":        {removed(vdi.StopExpired), false, started},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMetrics(nil)
			m.observe(waiting, running, &plan.Pass{Plan: plan.Plan{Now: fixture.Noon}})
			m.observe(running, running, &plan.Pass{Plan: plan.Plan{Now: fixture.Noon.Add(time.Minute)}})
			m.observe(running, c.after, &plan.Pass{Plan: plan.Plan{Now: fixture.Noon.Add(time.Hour)}, Outcome: plan.Outcome{LetGo: c.letGo}})
			require.Equal(t, c.want, samples(t, m))
			m.observe(c.after, c.after, &plan.Pass{Plan: plan.Plan{Now: fixture.Noon.Add(2 * time.Hour)}})
			require.Equal(t, c.want, samples(t, m), "counted once")
		})
	}
}

// TestMetricsOfGPUHours: a pod that is over counts once, for its template and for each quota
// that it counted for, when the status says so or the session goes.
func TestMetricsOfGPUHours(t *testing.T) {
	t.Parallel()
	before := fixture.Session()
	after := before.DeepCopy()
	after.Status.Runs = []vdi.RunRecord{{PodUID: "p", Begin: *fixture.At(fixture.Noon)}}
	over := accounting.Run{Template: "tpl", Quotas: []string{"all", "artists"}, Begin: fixture.Noon, End: fixture.Noon.Add(time.Hour), Rate: 2000}
	pass := func(letGo bool) *plan.Pass {
		return &plan.Pass{Plan: plan.Plan{Now: fixture.Noon.Add(time.Hour), RunOver: &over}, Outcome: plan.Outcome{Counted: true, LetGo: letGo}}
	}
	want := map[string]float64{"vdi_gpu_seconds_total tpl": 7200, "vdi_quota_gpu_seconds_total all": 7200, "vdi_quota_gpu_seconds_total artists": 7200}
	m := NewMetrics(nil)
	m.observe(before, before, pass(false))
	require.Empty(t, samples(t, m), "its status could not be written: the next pass counts")
	m.observe(before, after, pass(false))
	m.observe(after, after, pass(false))
	require.Equal(t, want, samples(t, m))
	m = NewMetrics(nil)
	m.observe(before, before, pass(true))
	require.Equal(t, want, samples(t, m))
	over.Rate = 0
	m.observe(before, after, pass(false))
	require.Equal(t, want, samples(t, m))
}
