package session

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
)

// delays notes how long after now each request is to be looked at.
type delays struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	after map[reconcile.Request]time.Duration
}

func (d delays) Add(r reconcile.Request) { d.after[r] = 0 }

func (d delays) AddAfter(r reconcile.Request, after time.Duration) { d.after[r] = after }

// Only the steps of a start wait for each other.
func TestStepsAreToldTogether(t *testing.T) {
	t.Parallel()
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "desk", Namespace: "desktops"}}
		change(p)
		return p
	}
	wake := together{&handler.EnqueueRequestForObject{}}
	for name, c := range map[string]struct {
		is   *corev1.Pod
		want time.Duration
	}{
		"it got a node": {pod(func(p *corev1.Pod) { p.Spec.NodeName = "node" }), stepsTogether},
		"it runs, not ready": {pod(func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		}), stepsTogether},
		"it is ready": {pod(func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}), 0},
		"it failed":   {pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), 0},
		"it is going": {pod(func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := delays{after: map[reconcile.Request]time.Duration{}}
			wake.Update(context.Background(), event.UpdateEvent{ObjectOld: pod(func(*corev1.Pod) {}), ObjectNew: c.is}, q)
			assert.Equal(t, map[reconcile.Request]time.Duration{{NamespacedName: client.ObjectKeyFromObject(c.is)}: c.want}, q.after)
		})
	}
}

// A spec that the cache has not seen is news whatever the generations say.
func TestSpecChanged(t *testing.T) {
	t.Parallel()
	before := fixture.Session()
	for name, c := range map[string]struct {
		change func(*vdi.VDISession)
		want   bool
	}{
		"nothing":                             {func(*vdi.VDISession) {}, false},
		"its status":                          {func(s *vdi.VDISession) { s.Status.Message, s.ResourceVersion = "x", "2" }, false},
		"its generation":                      {func(s *vdi.VDISession) { s.Generation++ }, true},
		"another of its name":                 {func(s *vdi.VDISession) { s.UID = "other" }, true},
		"another spec of the same generation": {func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended }, true},
	} {
		after := before.DeepCopy()
		c.change(after)
		assert.Equal(t, c.want, SpecChanged().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}), name)
	}
}
