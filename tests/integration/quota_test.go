package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// createQuota makes a quota for the sessions of this test.
func (w *world) createQuota(name string, spec vdi.VDIQuotaSpec) *vdi.VDIQuota {
	w.t.Helper()
	q := &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + w.ns}, Spec: spec}
	q.Spec.Selector.Namespaces = []string{w.ns}
	admin := w.client
	require.NoError(w.t, admin.Create(w.ctx, q))
	w.t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), q)) })
	return q
}

// of makes a session of somebody.
func (w *world) of(name, user string, changes ...func(*vdi.VDISession)) {
	w.t.Helper()
	w.createSession(append([]func(*vdi.VDISession){func(s *vdi.VDISession) { s.Name, s.Spec.User = name, user }}, changes...)...)
}

// becomes waits until a session is so.
func (w *world) becomes(name string, is func(*vdi.VDISession) bool) *vdi.VDISession {
	w.t.Helper()
	var s *vdi.VDISession
	if !assert.Eventually(w.t, func() bool {
		s = w.sessionNamed(name)
		return is(s)
	}, othersWork, glance) {
		w.t.Fatalf("%s: %+v", name, s.Status)
	}
	return s
}

// atPlace waits until a session has that place.
func (w *world) atPlace(name string, place int32) *vdi.VDISession {
	w.t.Helper()
	return w.becomes(name, func(s *vdi.VDISession) bool { return s.Status.Queue != nil && s.Status.Queue.Place == place })
}

// ofPods are those of sessions whose pods were made.
func (w *world) pods() (names []string) {
	w.t.Helper()
	list := &corev1.PodList{}
	require.NoError(w.t, w.client.List(w.ctx, list, client.InNamespace(w.ns)))
	for _, pod := range list.Items {
		names = append(names, pod.Name)
	}
	slices.Sort(names)
	return names
}

// starts waits for a desktop, and plays its kubelet.
func (w *world) starts(name string) {
	w.t.Helper()
	w.eventually(func() bool { return w.exists(&corev1.Pod{}, name) }, name+" starts")
	w.podStarts(name)
	w.becomes(name, func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseRunning })
}

// suspends stops a desktop, and plays its kubelet.
func (w *world) suspends(name string) {
	w.t.Helper()
	w.setRunPolicy(name, vdi.RunPolicySuspended)
	w.eventually(func() bool {
		pod := &corev1.Pod{}
		err := w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, pod)
		return apierrors.IsNotFound(err) || (err == nil && pod.DeletionTimestamp != nil)
	}, name+" stops")
	w.podEnds(name)
}

func (w *world) removeFinalizer(name string) {
	w.t.Helper()
	s := w.sessionNamed(name)
	before := s.DeepCopy()
	s.Finalizers = nil
	require.NoError(w.t, w.client.Patch(w.ctx, s, client.MergeFrom(before)))
}

func (w *world) setRunPolicy(name string, policy vdi.RunPolicy) {
	w.t.Helper()
	s := w.sessionNamed(name)
	before := s.DeepCopy()
	s.Spec.RunPolicy = policy
	require.NoError(w.t, w.client.Patch(w.ctx, s, client.MergeFrom(before)))
}

func slicesOf(n int32) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Spec.Resources.GPU = &n }
}

// TestQuotaOfNobody: a quota shows that it counts before anybody has asked for a desktop.
func TestQuotaOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operates()
	q := w.createQuota("nobody", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: new(int32(1))}})
	w.eventually(func() bool {
		w.read(q, q.Name)
		return meta.IsStatusConditionTrue(q.Status.Conditions, vdi.ConditionReady)
	}, "the quota is ready")
	require.Equal(t, q.Generation, q.Status.ObservedGeneration)
	require.Zero(t, q.Status.Used)
}

// TestQueue: two slices and six sessions of three people start in the documented order, with
// places that come true, whoever leads meanwhile.
func TestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	two := int32(2)
	quota := w.createQuota("all", vdi.VDIQuotaSpec{Total: &vdi.TotalLimits{GPUSlices: &two}})
	_, stop := w.operatesUntil()
	w.of("a1", "alice")
	w.starts("a1")
	w.of("a2", "alice")
	w.starts("a2")

	w.of("a3", "alice")
	s := w.atPlace("a3", 1)
	require.Equal(t, vdi.PhasePending, s.Status.Phase)
	require.Equal(t, vdi.WaitingForQuota, s.Status.WaitingFor)
	require.Equal(t, quota.Name, s.Status.Queue.Quota)
	require.Equal(t, vdi.ReasonQueued, meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionAdmitted).Reason)
	require.Contains(t, s.Status.Message, `at place 1: all people together may have at most 2 GPU slices, 2 are in use, and this one asks for 1`)
	w.of("b1", "bob")
	w.atPlace("b1", 1) // she has two, he has none
	w.atPlace("a3", 2)
	w.of("c1", "carol", slicesOf(2))
	w.atPlace("c1", 2)
	w.of("b2", "bob") // one before him is his own
	w.atPlace("b2", 3)
	w.atPlace("a3", 4)
	for _, name := range []string{"a3", "b1", "c1", "b2"} {
		s := w.sessionNamed(name)
		require.Empty(t, s.Finalizers, "%s owns nothing", name)
		require.False(t, w.exists(&corev1.PersistentVolumeClaim{}, "vdi-data-"+name), name)
	}
	require.Equal(t, []string{"a1", "a2"}, w.pods())

	w.suspends("a1")
	w.starts("b1")
	w.atPlace("c1", 1)
	stop()
	w.operates() // another one leads
	w.suspends("a2")
	w.atPlace("c1", 1) // it waits for two
	require.Equal(t, []string{"b1"}, w.pods(), "nobody overtakes who waits for more")
	w.suspends("b1")
	w.starts("c1")
	require.Equal(t, []string{"c1"}, w.pods())
	w.atPlace("a3", 2)
	w.setRunPolicy("a1", vdi.RunPolicyRunning)
	w.atPlace("a1", 2) // she has none now, and waited for two when a3 came
	w.atPlace("a3", 3)
	require.True(t, w.exists(&corev1.PersistentVolumeClaim{}, "vdi-data-a1"), "who resumes keeps the home")

	require.NoError(t, w.client.Delete(w.ctx, w.sessionNamed("b2"))) // in an instant
	require.True(t, apierrors.IsNotFound(w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: "b2"}, &vdi.VDISession{})))
	w.atPlace("a1", 1)
	w.atPlace("a3", 2)
	require.NoError(t, w.client.Delete(w.ctx, quota))
	w.starts("a1")
	w.starts("a3")
	require.Equal(t, []string{"a1", "a3", "c1"}, w.pods())
}

// TestQuotaChanges: quotas that are lowered and raised under live sessions stop nobody, and
// let in who has room.
func TestQuotaChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	limit := int32(2)
	quota := w.createQuota("person", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Running: &limit}})
	set := func(n int32) {
		require.NoError(t, w.client.Get(w.ctx, client.ObjectKeyFromObject(quota), quota))
		before := quota.DeepCopy()
		quota.Spec.PerUser.Running = &n
		require.NoError(t, w.client.Patch(w.ctx, quota, client.MergeFrom(before)))
	}
	w.operates()
	w.of("a1", "alice")
	w.starts("a1")
	w.of("a2", "alice")
	w.starts("a2")
	require.True(t, meta.IsStatusConditionTrue(w.sessionNamed("a2").Status.Conditions, vdi.ConditionAdmitted), "a run that quotas limit shows that it was admitted")
	set(1)
	w.of("a3", "alice")
	s := w.atPlace("a3", 1)
	require.Contains(t, s.Status.Message, "each person may have at most 1 running desktop, 2 are in use, and this one asks for 1")
	w.of("b1", "bob")
	w.starts("b1")
	require.NoError(t, w.client.Delete(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "a1"}}, client.GracePeriodSeconds(0)))
	w.starts("a1") // the platform starts it again, above the limit
	w.suspends("a1")
	w.becomes("a1", func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended })
	w.atPlace("a3", 1)
	set(3)
	w.starts("a3")
	require.Nil(t, w.sessionNamed("a3").Status.Queue)

	w.eventually(func() bool {
		require.NoError(t, w.client.Get(w.ctx, client.ObjectKeyFromObject(quota), quota))
		st := quota.Status
		return st.Used == vdi.QuotaUse{Sessions: 4, Running: 3, GPUSlices: 3} && st.People == 2 && st.Waiting == 0 && st.ObservedGeneration == quota.Generation
	}, "its status counts")
}

// TestQuotaRefuses: too many sessions and too much storage are refused before anything is
// made, a start is where the quota says so, and each says what helps.
func TestQuotaRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	two, one := int32(2), int32(1)
	w.createQuota("kept", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{Sessions: &two, Storage: "25Gi"}})
	w.createQuota("hard", vdi.VDIQuotaSpec{OnExceeded: vdi.QuotaReject, Selector: vdi.QuotaSelector{Users: []string{"bob"}}, PerUser: &vdi.UserLimits{Running: &one}})
	w.operates()
	refused := func(name, words string) {
		t.Helper()
		s := w.becomes(name, func(s *vdi.VDISession) bool {
			c := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionAccepted)
			return c != nil && c.Reason == vdi.ReasonQuotaExceeded && strings.Contains(s.Status.Message, words)
		})
		require.Equal(t, vdi.PhasePending, s.Status.Phase)
		require.Empty(t, s.Finalizers)
		require.False(t, w.exists(&corev1.PersistentVolumeClaim{}, "vdi-data-"+name))
	}
	w.of("a1", "alice")
	w.starts("a1")
	w.of("a2", "alice", func(s *vdi.VDISession) { s.Spec.Persistence.Size = "16Gi" })
	refused("a2", `each person may have at most 25Gi of homes, 10Gi is in use, and this one asks for 16Gi`)
	require.NoError(t, w.client.Delete(w.ctx, w.sessionNamed("a2")))
	w.of("a3", "alice")
	w.starts("a3")
	w.of("a4", "alice", func(s *vdi.VDISession) { s.Finalizers = []string{wire.Finalizer} }) // as if it had been accepted
	w.becomes("a4", func(s *vdi.VDISession) bool {
		return strings.Contains(s.Status.Message, `each person may have at most 2 sessions, 2 are in use, and this one asks for 1. Delete another one`)
	})
	require.False(t, w.exists(&corev1.PersistentVolumeClaim{}, "vdi-data-a4"))
	w.removeFinalizer("a4")

	grown := w.sessionNamed("a1")
	before := grown.DeepCopy()
	grown.Spec.Persistence.Size = "20Gi"
	require.NoError(t, w.client.Patch(w.ctx, grown, client.MergeFrom(before)))
	w.becomes("a1", func(s *vdi.VDISession) bool {
		c := meta.FindStatusCondition(s.Status.Conditions, vdi.ConditionHomeReady)
		return c != nil && c.Reason == vdi.ReasonHomeGrowthRefused && c.Status == metav1.ConditionTrue
	})
	home := &corev1.PersistentVolumeClaim{}
	w.read(home, "vdi-data-a1")
	require.Equal(t, resource.MustParse("10Gi"), home.Spec.Resources.Requests[corev1.ResourceStorage])

	w.suspends("a3")
	require.NoError(t, w.client.Delete(w.ctx, w.sessionNamed("a3")))
	refused("a4", `each person may have at most 25Gi of homes, 20Gi is in use, and this one asks for 10Gi`) // homes left behind count

	w.of("b1", "bob")
	w.starts("b1")
	w.of("b2", "bob")
	refused("b2", "ask again by setting spec.runPolicy to Suspended and back to Running")
	w.suspends("b1")
	w.becomes("b1", func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended })
	refused("b2", "ask again")
	w.setRunPolicy("b2", vdi.RunPolicySuspended)
	w.becomes("b2", func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseSuspended })
	w.setRunPolicy("b2", vdi.RunPolicyRunning)
	w.starts("b2")
}

// TestBadQuotas: what cannot be a quota is refused by name.
func TestBadQuotas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for words, spec := range map[string]map[string]any{
		"the quota says nothing: give perUser, total, priority or weight": {},
		"must be a positive quantity":                                     {"perUser": map[string]any{"storage": "much"}},
		"spec.perUser.running":                                            {"perUser": map[string]any{"running": -1}},
		`supported values: "Queue", "Reject"`:                             {"onExceeded": "Kill", "weight": 1},
		"spec.weight":                                                     {"weight": 0},
		"spec.perUser":                                                    {"perUser": map[string]any{}},
	} {
		err := w.client.Create(w.ctx, raw("VDIQuota", "", fmt.Sprint("bad-", w.ns), spec))
		require.ErrorContains(t, err, words)
		require.True(t, apierrors.IsInvalid(err), words)
	}
}

// findsNoRoom plays the scheduler that finds no room for a desktop.
func (w *world) findsNoRoom(name string) {
	w.t.Helper()
	w.eventually(func() bool { return w.exists(&corev1.Pod{}, name) }, name+" is offered to the scheduler")
	pod := &corev1.Pod{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: name}, pod))
	before := pod.DeepCopy()
	setPodCondition(pod, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", LastTransitionTime: metav1.Now(),
	})
	require.NoError(w.t, w.client.Status().Patch(w.ctx, pod, client.StrategicMergeFrom(before)))
	w.becomes(name, func(s *vdi.VDISession) bool { return s.Status.WaitingFor == vdi.WaitingForGPU })
}

// TestNoNodeHasRoom: without any quota, those for whom no node has room start in order, each
// kind by itself, whoever leads.
func TestNoNodeHasRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createTemplate()
	other := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: w.template + "-b"}, Spec: vdi.VDITemplateSpec{
		Image: image, Scheduling: vdi.TemplateScheduling{NodeSelector: map[string]string{"pool": "b"}},
	}}
	require.NoError(t, w.client.Create(w.ctx, other))
	admin := w.client
	t.Cleanup(func() { _ = admin.Delete(context.Background(), other) })
	onOthers := func(s *vdi.VDISession) { s.Spec.Template = other.Name }
	_, stop := w.operatesUntil()

	w.of("a1", "alice")
	w.findsNoRoom("a1")
	w.of("a2", "alice")
	s := w.atPlace("a2", 2)
	require.Equal(t, vdi.WaitingForGPU, s.Status.WaitingFor)
	require.Empty(t, s.Status.Queue.Quota)
	require.Contains(t, s.Status.Message, "Waiting for room in the cluster at place 2")
	w.of("b1", "bob")
	w.atPlace("b1", 2) // he has none
	w.atPlace("a2", 3)
	w.of("c1", "carol", onOthers)
	w.starts("c1")
	require.Equal(t, []string{"a1", "c1"}, w.pods(), "another kind goes on, and one of this is offered")
	require.Empty(t, w.sessionNamed("a2").Finalizers, "who waits owns nothing")

	stop()
	_, stop = w.operatesUntil() // another one leads
	defer stop()
	w.starts("a1")
	w.findsNoRoom("b1")
	w.atPlace("a2", 2)
	require.Equal(t, []string{"a1", "b1", "c1"}, w.pods())
	require.NoError(t, w.client.Delete(w.ctx, w.sessionNamed("b1")))
	w.podEnds("b1")
	w.starts("a2")
	w.of("d1", "dan")
	w.starts("d1")
	require.Nil(t, w.sessionNamed("d1").Status.Queue, "once nobody waits, nothing is held back")
}
