package attacks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/tests/attacks/ledger"
)

// TestA47GPUHours: nobody gets more GPU-hours than a VDIQuota gives them.
func TestA47GPUHours(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, w *world) ledger.Outcome{
		"a GPU for a desktop that was let in without one":  gpuInPlace,
		"a start with hours that another desktop has used": afterAnother,
		"to have another's hours count":                    asAnother,
	} {
		attack(t, name, do)
	}
}

// hours are a limit that leaves nothing, once a moment is used of it.
func hours(limit string) vdi.UserLimits {
	return vdi.UserLimits{GPUHours: &vdi.GPUHoursLimit{Limit: limit, Window: vdi.BudgetMonth}}
}

func withGPUs(n int32) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Spec.Resources.GPU = &n }
}

// gpuInPlace: a desktop without a GPU costs no hours; the platform starts it again when its
// owner ends its pod, with what they ask for by then.
func gpuInPlace(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, hours("0"))
	s := desk(ns, "desk", malloryIn(ns), withGPUs(0))
	require.NoError(t, c.Create(t.Context(), s))
	require.Empty(t, w.settles(t, s))
	before := s.DeepCopy()
	s.Spec.Resources.GPU = new(int32(1))
	require.NoError(t, c.Patch(t.Context(), s, client.MergeFrom(before)))
	pod := &corev1.Pod{}
	w.read(t, pod, ns, "desk")
	require.NoError(t, c.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	require.Eventually(t, func() bool {
		require.NoError(t, w.Driver.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		return s.Status.WaitingFor == vdi.WaitingForQuota || (s.Status.Run != nil && s.Status.Run.GPUSlices > 0)
	}, patience, glance)
	return w.limits(t, s)
}

// afterAnother: what one has used in a namespace counts in every other, and after the session is
// gone.
func afterAnother(t *testing.T, w *world) ledger.Outcome {
	ns, _ := w.limited(t, hours("10"))
	w.used(t, malloryIn(ns), ns, 10*3600)
	elsewhere := w.namespace(t)
	s := desk(elsewhere, "desk", malloryIn(ns), withGPUs(1))
	require.NoError(t, w.tenant(t, elsewhere, malloryIn(ns)).Create(t.Context(), s))
	return w.limits(t, s)
}

// used writes down that somebody has used hours that a quota counts, as the operator does.
func (w *world) used(t *testing.T, user, quota string, gpuSeconds int64) {
	t.Helper()
	now := metav1.Now()
	u := &vdi.VDIUsage{ObjectMeta: metav1.ObjectMeta{Name: platform.Identity(user)}, Spec: vdi.VDIUsageSpec{User: user}}
	u.Status.Runs = []vdi.UsedRun{{UID: "former", Begin: now, End: now, GPUSeconds: gpuSeconds, Quotas: []string{quota}}}
	require.NoError(t, w.Driver.Create(t.Context(), u))
}

// asAnother: a session's status says whose hours its run uses, and since when.
func asAnother(t *testing.T, w *world) ledger.Outcome {
	ns, c := w.limited(t, hours("10"))
	s := desk(ns, "desk", malloryIn(ns), withGPUs(1))
	require.NoError(t, c.Create(t.Context(), s))
	require.Empty(t, w.settles(t, s))
	return writes(t, c.Status().Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"run":null,"budgets":null}}`))))
}
