package quota

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
)

func TestStatusOf(t *testing.T) {
	noon := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	limit := int32(2)
	q := &vdi.VDIQuota{ObjectMeta: metav1.ObjectMeta{Name: "all", Generation: 3}, Spec: vdi.VDIQuotaSpec{Total: &vdi.TotalLimits{GPUSlices: &limit}}}
	use := fairshare.Use{Sessions: 5, Running: 2, GPUSlices: 2, Waiting: 1, People: 4}
	q.Status = statusOf(q, use, noon)
	require.Equal(t, vdi.QuotaUse{Sessions: 5, Running: 2, GPUSlices: 2}, q.Status.Used)
	require.Equal(t, [2]int32{1, 4}, [2]int32{q.Status.Waiting, q.Status.People})
	require.Equal(t, int64(3), q.Status.ObservedGeneration)
	require.Equal(t, vdi.ReasonAsExpected, meta.FindStatusCondition(q.Status.Conditions, vdi.ConditionReady).Reason)
	require.Equal(t, q.Status, statusOf(q, use, metav1.NewTime(noon.Add(time.Hour))), "the same use gives the same status")

	use.GPUSlices = 3
	q.Status = statusOf(q, use, noon)
	ready := meta.FindStatusCondition(q.Status.Conditions, vdi.ConditionReady)
	require.Equal(t, metav1.ConditionTrue, ready.Status)
	require.Equal(t, "The quota counts; 3 GPU slices are in use, more than the 2 of now: what runs goes on, and nothing starts before there is room", ready.Message)
}

// TestUnknownTimeZone: a quota goes on to count, and says what is wrong with it.
func TestUnknownTimeZone(t *testing.T) {
	t.Parallel()
	q := &vdi.VDIQuota{Spec: vdi.VDIQuotaSpec{PerUser: &vdi.UserLimits{GPUHours: &vdi.GPUHoursLimit{Limit: "4", TimeZone: "Mars/Olympus"}}}}
	ready := meta.FindStatusCondition(statusOf(q, fairshare.Use{}, metav1.Now()).Conditions, vdi.ConditionReady)
	require.Equal(t, metav1.ConditionFalse, ready.Status)
	require.Equal(t, `The quota counts; but spec.perUser.gpuHours.timeZone: "Mars/Olympus" is no time zone that is known here; use a name such as Europe/Berlin. Until then its days are those of UTC`, ready.Message)
}
