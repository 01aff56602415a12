package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// whereItIsNoon is a time zone in which no day ends for hours.
func whereItIsNoon() string { return fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12) }

// usage is what somebody has used.
func (w *world) usage(user string) vdi.VDIUsageStatus {
	w.t.Helper()
	u := &vdi.VDIUsage{}
	require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKey{Name: platform.Identity(user)}, u))
	require.Equal(w.t, user, u.Spec.User)
	return u.Status
}

// TestGPUHours: a budget ends as it was announced, the desktop is suspended and starts again in
// the next window, when somebody asks for it, and what it used is written down once.
func TestGPUHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	somebody := w.ns + "@example.com" // each person's use is the whole cluster's
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.GPU.Cost = "2" })
	quota := w.createQuota("hours", vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{GPUHours: &vdi.GPUHoursLimit{Limit: "4", Window: vdi.BudgetDay, TimeZone: whereItIsNoon()}}})
	w.createSession(func(s *vdi.VDISession) {
		s.Spec.User, s.Spec.Resources.GPU = somebody, new(int32(1))
		s.Spec.KeepAliveUntil = &metav1.Time{Time: time.Now().Add(6 * time.Hour)}
	})
	w.start()
	s := w.session()
	require.NotNil(t, s.Status.Run)
	require.Equal(t, "2", s.Status.Run.Cost)
	require.Equal(t, []string{quota.Name}, s.Status.Run.Quotas)
	require.Len(t, s.Status.Budgets, 1)
	require.Equal(t, vdi.StopBudget, s.Status.ExpiryReason)
	require.Equal(t, 2*time.Hour, s.Status.ExpiresAt.Sub(s.Status.Run.Begin.Time), "4 hours at cost 2")

	version := w.session().ResourceVersion
	w.inAWhile(time.Hour + 333*time.Millisecond)
	require.Equal(t, version, w.session().ResourceVersion, "the end stays as it is, and nothing is written")
	w.inAWhile(55 * time.Minute)
	w.requireCondition(vdi.ConditionExpiringSoon, metav1.ConditionTrue, vdi.ReasonBudget)
	w.inAWhile(5 * time.Minute)
	w.inAWhile(6 * time.Minute)
	require.Equal(t, vdi.RunPolicySuspended, w.session().Spec.RunPolicy)
	require.Equal(t, vdi.StopBudget, w.session().Status.StopReason)
	w.podEnds(desk)
	w.pass()
	w.pass()
	s = w.requirePhase(vdi.PhaseSuspended)
	require.True(t, w.homeExists())
	require.Nil(t, s.Status.Run)
	require.Len(t, s.Status.Runs, 1)
	require.Equal(t, vdi.StopBudget, s.Status.Runs[0].Why)
	st := w.usage(somebody)
	require.Len(t, st.Runs, 1)
	require.Equal(t, []string{quota.Name}, st.Runs[0].Quotas)
	used, inMonth := int64(0), int64(0)
	for _, day := range st.Days {
		require.Equal(t, [2]string{w.ns, w.template}, [2]string{day.Namespace, day.Template})
		used += day.GPUSeconds
		if strings.HasPrefix(day.Date, st.Month) { // the run may begin on the last day of the month before
			inMonth += day.GPUSeconds
		}
	}
	require.InDelta(t, (2*time.Hour+6*time.Minute).Seconds()*2, float64(used), 30)
	require.Equal(t, accounting.Hours(inMonth), st.GPUHours)

	w.change(resume)
	w.pass()
	refused := w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonQuotaExceeded)
	require.Contains(t, refused.Message, "each person may have at most 4.00 GPU-hours until")
	require.Contains(t, refused.Message, "a start takes 0.33 at least", "ten minutes at cost 2")
	require.False(t, w.podExists())
	w.restart()
	w.pass()
	w.requireCondition(vdi.ConditionAccepted, metav1.ConditionFalse, vdi.ReasonQuotaExceeded)
	w.inAWhile(24 * time.Hour)
	w.start()
	require.Equal(t, st, w.usage(somebody), "what runs is not written down")
}
