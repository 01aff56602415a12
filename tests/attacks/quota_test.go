package attacks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// TestA46Quota: nobody gets more than a VDIQuota leaves them.
func TestA46Quota(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, w *world) ledger.Outcome{
		"one session more, in another namespace":        inAnotherNamespace,
		"one session more, as if it had been accepted":  asIfAccepted,
		"a home more, beside the one that was left":     besideLeftHome,
		"a larger desktop, in place of the one that is": largerInPlace,
	} {
		attack(t, name, do)
	}
}

// limited is a namespace and its attacker, whom a quota limits.
func (w *world) limited(t *testing.T, limits vdi.UserLimits) (ns string, c client.Client) {
	t.Helper()
	ns = w.namespace(t)
	c = w.tenant(t, ns, malloryIn(ns))
	q := &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: ns}, Spec: vdi.VDIQuotaSpec{
		Selector: vdi.QuotaSelector{Users: []string{malloryIn(ns)}}, PerUser: &limits,
	}}
	require.NoError(t, w.Driver.Create(t.Context(), q))
	return ns, c
}

// limits waits until the operator has made up its mind about a session that is to be too
// much: Worked when it goes on.
func (w *world) limits(t *testing.T, s *vdi.VDISession) ledger.Outcome {
	t.Helper()
	words, worked := "", false
	require.Eventually(t, func() bool {
		require.NoError(t, w.replica.Running())
		require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		if s.Status.ObservedGeneration != s.Generation {
			return false
		}
		for _, kind := range []string{vdi.ConditionAccepted, vdi.ConditionAdmitted} { // of a desktop that is not to run, too
			if c := meta.FindStatusCondition(s.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
				require.Contains(t, []string{vdi.ReasonQuotaExceeded, vdi.ReasonQueued}, c.Reason, c.Message)
				words = c.Message
				return true
			}
		}
		worked = s.Status.Phase == vdi.PhaseRunning || s.Status.Phase == vdi.PhaseSuspended
		return worked
	}, patience, glance, "see %s", w.replica.Log())
	return ledger.Judge(worked, ledger.Operator, words)
}

func stopped(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended }

func inAnotherNamespace(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, vdi.UserLimits{Sessions: new(int32(1))})
	require.NoError(t, c.Create(t.Context(), desk(ns, "first", malloryIn(ns), stopped)))
	require.Empty(t, w.settles(t, desk(ns, "first", "")))
	elsewhere := w.namespace(t)
	s := desk(elsewhere, "second", malloryIn(ns), stopped)
	require.NoError(t, w.tenant(t, elsewhere, malloryIn(ns)).Create(t.Context(), s))
	return w.limits(t, s)
}

func asIfAccepted(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, vdi.UserLimits{Sessions: new(int32(0))})
	s := desk(ns, "forged", malloryIn(ns), stopped, func(s *vdi.VDISession) { s.Finalizers = []string{wire.Finalizer} })
	if err := c.Create(t.Context(), s); err != nil {
		return writes(t, err)
	}
	return w.limits(t, s)
}

func besideLeftHome(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, vdi.UserLimits{Storage: "15Gi"})
	first := desk(ns, "first", malloryIn(ns))
	require.NoError(t, c.Create(t.Context(), first))
	require.Empty(t, w.settles(t, first))
	require.NoError(t, c.Delete(t.Context(), first))
	require.Eventually(t, func() bool { return !w.exists(t, &vdi.VDISession{}, ns, "first") }, patience, glance)
	require.True(t, w.exists(t, &corev1.PersistentVolumeClaim{}, ns, "vdi-data-first"), "the home is left")
	second := desk(ns, "second", malloryIn(ns))
	require.NoError(t, c.Create(t.Context(), second))
	return w.limits(t, second)
}

// largerInPlace: a desktop that its owner has ended starts again, with what they ask for by
// then.
func largerInPlace(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, vdi.UserLimits{Memory: "4Gi"})
	s := desk(ns, "desk", malloryIn(ns))
	require.NoError(t, c.Create(t.Context(), s))
	require.Empty(t, w.settles(t, s))
	before := s.DeepCopy()
	s.Spec.Resources.Memory = "16Gi"
	require.NoError(t, c.Patch(t.Context(), s, client.MergeFrom(before)))
	pod := &corev1.Pod{}
	w.read(t, pod, ns, "desk")
	old := pod.UID
	require.NoError(t, c.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	require.Eventually(t, func() bool {
		err := w.Driver.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "desk"}, pod)
		require.NoError(t, client.IgnoreNotFound(err))
		require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		return (err == nil && pod.UID != old) || s.Status.WaitingFor == vdi.WaitingForQuota
	}, patience, glance)
	return w.limits(t, s)
}
