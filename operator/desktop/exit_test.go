package desktop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestEndedAt: a pod that has ended gave back what it held when its last container ended, when
// it was evicted, or never held anything.
func TestEndedAt(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	done := func(after time.Duration) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(began.Add(after))}}}
	}
	lives := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	evicted := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(began.Add(time.Hour))}
	for name, c := range map[string]struct {
		status corev1.PodStatus
		at     time.Time
		known  bool
	}{
		"lives":            {corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{done(time.Minute)}}, time.Time{}, false},
		"failed":           {corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: []corev1.ContainerStatus{done(time.Second)}, ContainerStatuses: []corev1.ContainerStatus{done(time.Hour), done(time.Minute)}}, began.Add(time.Hour), true},
		"status lost":      {corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: []corev1.ContainerStatus{done(time.Second)}, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown"}}}}}, time.Time{}, false},
		"never begun":      {corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: []corev1.ContainerStatus{done(time.Second)}, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}}}, began.Add(time.Second), true},
		"rejected":         {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError"}, time.Time{}, true},
		"lost":             {corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{lives}}, time.Time{}, false},
		"lost and cleared": {corev1.PodStatus{Phase: corev1.PodFailed, Conditions: []corev1.PodCondition{evicted}, ContainerStatuses: []corev1.ContainerStatus{lives}}, began.Add(time.Hour), true},
	} {
		at, known := EndedAt(&corev1.Pod{Status: c.status})
		require.Equal(t, c.known, known, name)
		require.True(t, c.at.Equal(at), "%s: %s", name, at)
	}
}
