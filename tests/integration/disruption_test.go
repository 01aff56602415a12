package integration

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/drain"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var budgetGVK = policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget")

func withBudget(t *vdi.VDITemplate) {
	t.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"pod":{"disruptionBudget":{"enabled":true}}}`)}
}

func withoutBudget(t *vdi.VDITemplate) { t.Spec.Values = nil }

func (w *world) budget() *policyv1.PodDisruptionBudget {
	w.t.Helper()
	b := &policyv1.PodDisruptionBudget{}
	w.read(b, desk)
	return b
}

func (w *world) budgetExists() bool {
	b := &policyv1.PodDisruptionBudget{}
	return w.exists(b, desk) && b.DeletionTimestamp == nil
}

// evict asks as `kubectl drain` does.
func (w *world) evict() error {
	w.t.Helper()
	return w.client.SubResource("eviction").Create(w.ctx, w.pod(), &policyv1.Eviction{})
}

// bounce suspends the session and lets it go on.
func (w *world) bounce() {
	w.t.Helper()
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	w.requirePhase(vdi.PhaseSuspended)
	w.change(resume)
	w.start()
}

func TestDisruptionBudget(t *testing.T) {
	t.Parallel()
	t.Run("a drain waits for people, and for people only", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(withBudget)
		w.createSession()
		w.start()
		w.eventually(func() bool {
			b := w.budget()
			return b.Status.ExpectedPods == 1 && b.Status.CurrentHealthy == 1
		}, "the cluster counts the desktop")
		allowed := meta.FindStatusCondition(w.budget().Status.Conditions, policyv1.DisruptionAllowedCondition)
		require.Equal(t, policyv1.InsufficientPodsReason, allowed.Reason, allowed.Message)
		require.True(t, apierrors.IsTooManyRequests(w.evict()))
		require.Nil(t, w.pod().DeletionTimestamp)
		w.requirePhase(vdi.PhaseRunning)

		w.podStatus(func(pod *corev1.Pod) {
			setPodCondition(pod, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse})
		})
		w.eventually(func() bool { return w.evict() == nil }, "a desktop that does not answer may go")
	})
	t.Run("switched on and off at the next start", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		require.False(t, w.budgetExists(), "off by default")

		w.changeTemplate(withBudget)
		w.pass()
		require.False(t, w.budgetExists(), "a living desktop keeps what it started with")
		require.Contains(t, w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision).Message, "PodDisruptionBudget")
		w.bounce()
		require.True(t, w.budgetExists())
		require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionUpdatePending).Status)
		require.True(t, metav1.IsControlledBy(w.budget(), w.session()))

		w.changeTemplate(withoutBudget)
		w.pass()
		require.True(t, w.budgetExists(), "a living desktop keeps what it started with")
		require.Contains(t, w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonNewRevision).Message, "PodDisruptionBudget")
		w.bounce()
		require.False(t, w.budgetExists())
		require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionUpdatePending).Status)
	})
	t.Run("a suspended session holds up nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(withBudget)
		w.createSession()
		w.start()
		w.change(suspend)
		w.pass()
		w.podEnds(desk)
		w.pass()
		require.False(t, w.budgetExists())
	})
	t.Run("drift is put back, and a deleted one comes back", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(withBudget)
		w.createSession()
		w.start()
		good := w.raw(budgetGVK)
		bad := good.DeepCopy()
		set("other", "spec", "selector", "matchLabels", "app.kubernetes.io/instance")(bad.Object)
		require.NoError(t, w.overwrite(bad))
		// The disruption controller answers with a status, and a pass that it overtakes tries again later.
		w.eventually(func() bool {
			budget := w.raw(budgetGVK)
			seen, _, _ := unstructured.NestedInt64(budget.Object, "status", "observedGeneration")
			return seen == budget.GetGeneration()
		}, "the disruption controller has seen it")
		w.pass()
		require.Equal(t, good.Object["spec"], w.raw(budgetGVK).Object["spec"])
		require.Contains(t, w.events.all(), "Warning PutBack The session's PodDisruptionBudget")
		version := w.raw(budgetGVK).GetGeneration()
		w.pass()
		require.Equal(t, version, w.raw(budgetGVK).GetGeneration())

		require.NoError(t, w.client.Delete(w.ctx, w.budget()))
		w.pass()
		require.Equal(t, good.Object["spec"], w.raw(budgetGVK).Object["spec"])
	})
	t.Run("goes with its session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.createTemplate(withBudget)
		w.createSession()
		w.start()
		w.deleteSession()
		w.leave()
		w.eventually(func() bool { return !w.budgetExists() }, "the garbage collector takes it")
	})
}

func TestEvictionIsAnnounced(t *testing.T) {
	t.Parallel()
	t.Run("a drain", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		first := w.running()
		home := w.home().UID
		w.events.forget()
		require.NoError(t, w.evict())
		w.pass()
		s := w.requirePhase(vdi.PhaseCreating)
		require.Equal(t, "The desktop has to leave its node (the node node-1 is being drained); it starts again on another one with the same home", s.Status.Message)
		w.requireCondition(vdi.ConditionDesktopReady, metav1.ConditionFalse, vdi.ReasonEvicted)
		require.Equal(t, "Warning Evicted "+s.Status.Message, w.events.all(), "told once, and nothing else")
		w.pass()
		require.Equal(t, "Warning Evicted "+s.Status.Message, w.events.all())

		w.podEnds(desk)
		w.start()
		require.Equal(t, first.Status.URL, w.session().Status.URL)
		require.Equal(t, home, w.home().UID)
		require.True(t, first.Status.StartTime.Equal(w.session().Status.StartTime), "the run goes on")
	})
	t.Run("a deleted pod", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.events.forget()
		require.NoError(t, w.client.Delete(w.ctx, w.pod()))
		w.pass()
		w.requireCondition(vdi.ConditionDesktopReady, metav1.ConditionFalse, vdi.ReasonPodDeleted)
		require.Contains(t, w.events.all(), "Warning PodDeleted The desktop's pod was deleted; a new one starts with the same home")
	})
	t.Run("not what the operator does itself", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.change(suspend)
		w.pass()
		w.change(resume)
		w.pass()
		require.NotNil(t, w.pod().DeletionTimestamp)
		require.NotContains(t, w.events.all(), "PodDeleted")
		require.NotContains(t, w.events.all(), "Evicted")
	})
}

// order has an administrator order the desktop off its node.
func (w *world) order(o drain.Order) {
	w.t.Helper()
	o.Node = w.pod().Spec.NodeName
	w.change(func(s *vdi.VDISession) { annotate(s, wire.AnnotationDrain, o.String()) })
}

// TestNodeIsFreed: an order is announced, and carried out when the warning is over; the order
// that stands is none for the next desktop.
func TestNodeIsFreed(t *testing.T) {
	t.Parallel()
	in := func(after time.Duration) metav1.Time { return metav1.NewTime(time.Now().Add(after)) }
	t.Run("with a restart", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		first := w.running()
		home, pod := w.home().UID, w.pod().UID
		w.events.forget()
		at := in(2 * time.Second) // by the API server's clock, which runs on as it does
		w.order(drain.Order{At: at, Restart: true, Message: "New driver"})
		w.pass()
		s := w.session()
		soon := w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonDrain)
		require.Equal(t, "The node node-1 is being freed, and the desktop has to leave it: it starts again on another one then, with the same home. Save what is open. An administrator says: New driver", soon.Message)
		require.Equal(t, "Warning ExpiringSoon "+soon.Message, w.events.all())
		require.Equal(t, vdi.StopDrain, s.Status.ExpiryReason)
		w.inAWhile(9 * time.Minute)
		require.Nil(t, w.pod().DeletionTimestamp, "nobody has had ten minutes yet")
		w.inAWhile(2 * time.Minute)
		require.NotNil(t, w.pod().DeletionTimestamp)
		w.pass()
		w.requirePhase(vdi.PhaseCreating)
		w.requireCondition(vdi.ConditionDesktopReady, metav1.ConditionFalse, vdi.ReasonEvicted)
		require.Contains(t, w.events.all(), "the node node-1 is being freed")
		w.eventually(func() bool { return time.Now().After(at.Time) }, "the next pod is made after the time of the order")
		w.podEnds(desk)
		w.start()
		s = w.session()
		require.NotEqual(t, pod, w.pod().UID)
		require.Equal(t, home, w.home().UID)
		require.Equal(t, first.Status.URL, s.Status.URL)
		require.True(t, first.Status.StartTime.Equal(s.Status.StartTime), "the run goes on")
		require.Equal(t, vdi.RunPolicyRunning, s.Spec.RunPolicy)
		require.Empty(t, s.Status.StopReason)
		pod, version := w.pod().UID, w.session().ResourceVersion
		w.inAWhile(30 * time.Minute)
		require.Equal(t, pod, w.pod().UID, "it started on the node after the order was carried out")
		require.Equal(t, version, w.session().ResourceVersion)
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running(func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = new(in(6 * time.Hour)) })
		w.order(drain.Order{At: in(30 * time.Minute)})
		w.pass()
		require.Equal(t, vdi.StopDrain, w.session().Status.ExpiryReason)
		w.inAWhile(21 * time.Minute)
		w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonDrain)
		w.inAWhile(10 * time.Minute)
		w.inAWhile(time.Minute)
		require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
		w.podEnds(desk)
		w.pass()
		w.pass()
		require.Equal(t, vdi.StopDrain, w.requirePhase(vdi.PhaseSuspended).Status.StopReason)
		require.True(t, w.homeExists())
		w.change(resume)
		w.start()
		require.Empty(t, w.session().Status.StopReason)
	})
	t.Run("taken back", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.running()
		w.order(drain.Order{At: in(5 * time.Minute)})
		w.pass()
		w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonDrain)
		w.change(func(s *vdi.VDISession) { delete(s.Annotations, wire.AnnotationDrain) })
		w.pass()
		require.Nil(t, meta.FindStatusCondition(w.session().Status.Conditions, vdi.ConditionExpiringSoon))
		w.inAWhile(20 * time.Minute)
		require.Nil(t, w.pod().DeletionTimestamp)
	})
}

func TestHolderOfAHome(t *testing.T) {
	t.Parallel()
	shared := func(w *world) {
		claim := claimNamed(w.ns, "shared")
		claim.Labels = map[string]string{wire.LabelHomeFor: platform.Identity(alice)}
		require.NoError(t, w.client.Create(w.ctx, claim))
		w.createTemplate()
	}
	onClaim := func(name string) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { s.Name, s.Spec.Persistence.ExistingClaim = name, "shared" }
	}
	t.Run("a pod that is no desktop is named too", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		shared(w)
		backup := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "backup", Namespace: w.ns}}
		backup.Spec.Containers = []corev1.Container{{Name: "backup", Image: image}}
		backup.Spec.Volumes = []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "shared"},
		}}}
		require.NoError(t, w.client.Create(w.ctx, backup))
		w.createSession(onClaim(desk))
		require.Equal(t, time.Minute, w.pass().RequeueAfter, "nobody tells when it ends")
		s := w.requirePhase(vdi.PhasePending)
		require.Equal(t, vdi.WaitingForVolume, s.Status.WaitingFor)
		require.Contains(t, s.Status.Message, `in use by the pod "backup"`)
		w.requireCondition(vdi.ConditionHomeReady, metav1.ConditionFalse, vdi.ReasonHomeInUse)
		w.podEnds("backup")
		w.start()
	})
	t.Run("many start at once: one has it, the others name it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		shared(w)
		names := []string{"one", "two", "three", "four"}
		for _, name := range names {
			w.createSession(onClaim(name))
		}
		var group sync.WaitGroup
		for _, name := range names {
			group.Go(func() { _, _ = w.passOf(name) }) // who loses a race looks again
		}
		group.Wait()
		for _, name := range names {
			w.passes(name)
		}
		pods := &corev1.PodList{}
		require.NoError(t, w.client.List(w.ctx, pods, client.InNamespace(w.ns)))
		require.Len(t, pods.Items, 1)
		for _, name := range names {
			if s := w.sessionNamed(name); name != pods.Items[0].Name {
				require.Contains(t, s.Status.Message, `in use by the desktop "`+pods.Items[0].Name+`"`)
			}
		}
	})
}

func TestTemplateDeletedUnderARunningDesktop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.running()
	w.templatePass()
	before := w.versions()
	w.events.forget()
	w.deleteTemplate()
	w.pass()
	w.requirePhase(vdi.PhaseRunning)
	require.Equal(t, before, w.versions(), "nothing of it is touched")
	w.requireCondition(vdi.ConditionReady, metav1.ConditionTrue, vdi.ReasonAsExpected)
	w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonTemplateNotFound)
	require.Contains(t, w.requireCondition(vdi.ConditionUpdatePending, metav1.ConditionTrue, vdi.ReasonTemplateNotFound).Message, "Template not found: "+w.template)
	require.Contains(t, w.events.all(), "Warning UpdatePending This desktop runs on, but could not start again as things are: Template not found")
	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.True(t, w.homeExists())
	w.change(resume)
	w.pass()
	require.Equal(t, vdi.WaitingForTemplate, w.requirePhase(vdi.PhaseFailed).Status.WaitingFor)

	w.createTemplate()
	w.start()
	require.Equal(t, metav1.ConditionStatus("absent"), condition(w.session(), vdi.ConditionUpdatePending).Status)
	w.templatePass()
	require.Equal(t, vdi.TemplateSessions{Total: 1, Running: 1}, w.templateStatus().Sessions)
	require.True(t, meta.IsStatusConditionTrue(w.templateStatus().Conditions, vdi.ConditionValid))
}

func (w *world) templateStatus() vdi.VDITemplateStatus {
	w.t.Helper()
	t := &vdi.VDITemplate{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, t))
	return t.Status
}
