package session

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What a pass costs beside rendering, which tests/bench measures. Nothing here
// asserts a time: machines differ.

// aRun is a session with every end that a template can set.
func aRun() (*vdi.VDISession, vdi.TemplateLifecycle) {
	s := fixture.Session()
	s.Spec.Timeout, s.Spec.IdleTimeout, s.Spec.KeepAliveUntil = "8h", "30m", fixture.At(fixture.Noon.Add(9*time.Hour))
	s.Status.Phase, s.Status.StartTime, s.Status.PhaseSince = vdi.PhaseRunning, fixture.At(fixture.Noon), fixture.At(fixture.Noon)
	s.Status.Activity = &vdi.ActivityStatus{LastActivityTime: fixture.At(fixture.Noon)}
	rules := vdi.TemplateLifecycle{MaxTimeout: "24h", MaxIdleTimeout: "2h", MaxStarting: "10m", MaxFailed: "1h", MaxSuspended: "720h"}
	return s, rules
}

func BenchmarkDecide(b *testing.B) {
	s, rules := aRun()
	now := fixture.Noon.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		plan.Decide(s, rules, now)
	}
}

// BenchmarkStatus is the status of a desktop that runs, and whether it differs
// from what was written before: most passes end there.
func BenchmarkStatus(b *testing.B) {
	s, rules := aRun()
	p := plan.NewPass(s, fixture.Noon, &platform.Config{})
	p.Template = &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Lifecycle: rules}}
	p.Decision, p.Reach = plan.Decision{Want: plan.Run}, plan.ReachAnswered
	p.Seen.Pod = fixture.Pod(fixture.Placed, fixture.Ready)
	p.Host, p.URL, p.Credentials = "alice.vdi.example.com", "https://alice.vdi.example.com", true
	s.Status = status.Of(p, nil).Status
	b.ReportAllocs()
	for b.Loop() {
		if !status.Equal(s.Status, status.Of(p, nil).Status) {
			b.Fatal("the same pass gave another status")
		}
	}
}

// aLivePod is about as large as a desktop's pod in a cluster.
func aLivePod() *corev1.Pod {
	p := fixture.Pod(fixture.Placed, fixture.Ready)
	p.Labels = map[string]string{wire.LabelManagedBy: wire.Operator, wire.LabelInstance: "desk", wire.LabelName: wire.NameSession}
	p.Spec.Containers = []corev1.Container{{Name: wire.ContainerDesktop, Image: "img", Env: make([]corev1.EnvVar, 20)}}
	p.Spec.Volumes = make([]corev1.Volume, 3)
	fields := metav1.NewFieldsV1(`{"f:spec":{` + strings.Repeat(`"f:field":{},`, 300) + `"f:last":{}}}`)
	for _, manager := range []string{"vdi-operator", "kubelet"} {
		p.ManagedFields = append(p.ManagedFields, metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: fields})
	}
	return p
}

// BenchmarkCacheTransform is what every object passes on its way into the cache
// (operator/run): its managed fields are about half of it and never read.
func BenchmarkCacheTransform(b *testing.B) {
	transform, pod := cache.TransformStripManagedFields(), aLivePod()
	managed := pod.ManagedFields
	b.ReportAllocs()
	for b.Loop() {
		pod.ManagedFields = managed
		out, err := transform(pod)
		if err != nil || len(out.(*corev1.Pod).ManagedFields) > 0 {
			b.Fatal("managed fields are still there", err)
		}
	}
}

// BenchmarkPodChanged is asked at every event of a pod: most are no news.
func BenchmarkPodChanged(b *testing.B) {
	changed := (&Reconciler{Clock: clock.RealClock{}}).podChanged()
	before, after := aLivePod(), aLivePod()
	after.Status.StartTime = fixture.At(fixture.Noon)
	b.ReportAllocs()
	for b.Loop() {
		if changed.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
			b.Fatal("the start time is no news")
		}
	}
}
