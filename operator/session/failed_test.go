package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The wait before a pod that ended is replaced grows with each failure in a row
// and has a ceiling; it counts from the latest thing the pod tells of.
func TestRestartAt(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{LastTransitionTime: metav1.NewTime(noon)}}},
	}
	for failures, wait := range map[int32]time.Duration{
		0: 10 * time.Second, 1: 20 * time.Second, 4: 160 * time.Second, 5: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		require.Equal(t, noon.Add(wait), restartAt(pod, failures), "after %d failures", failures)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(noon.Add(time.Minute))},
	}}}
	require.Equal(t, noon.Add(time.Minute+firstRestart), restartAt(pod, 0), "the container's end is later")
	require.Equal(t, noon.Add(-time.Hour), endedAt(&corev1.Pod{ObjectMeta: pod.ObjectMeta}), "nothing but its creation is known")
}

func TestLastWords(t *testing.T) {
	c := corev1.ContainerStatus{Name: "selkies", LastTerminationState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", Message: "start\nout of luck\n"},
	}}
	require.Equal(t, ": exit code 137, OOMKilled; it needed more than its memory limit (spec.resources.memory); its last words: out of luck", lastEnd(c))
}
