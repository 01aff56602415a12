package contract

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/tests/validate/judge"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestEndOf: the message of a desktop that ran is the end of its log, and is not shown.
func TestEndOf(t *testing.T) {
	ended := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: reason, Message: "the message",
			StartedAt: metav1.NewTime(began), FinishedAt: metav1.NewTime(began.Add(3 * time.Second)),
		}}
	}
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "the message"}}
	}
	for want, status := range map[string]corev1.ContainerStatus{
		"":                                      {State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"it ended with code 1 (Error) after 3s": {State: ended("Error")},
		"it ended with code 1 (OOMKilled) after 3s":                  {State: ended("OOMKilled")},
		"it ended with code 1 (Completed) after 3s":                  {LastTerminationState: ended("Completed"), RestartCount: 1},
		"it did not start (StartError): the message":                 {State: ended("StartError")},
		"it did not start (ContainerCannotRun): the message":         {LastTerminationState: ended("ContainerCannotRun")},
		"it does not start (CreateContainerError): the message":      {State: waiting("CreateContainerError")},
		"it does not start (ErrImageNeverPull): the message":         {State: waiting("ErrImageNeverPull")},
		"it was started again 2 times":                               {RestartCount: 2},
		"it did not start (CreateContainerConfigError): the message": {State: ended("CreateContainerConfigError")},
	} {
		status.Name = wire.ContainerDesktop
		require.Equal(t, want, endOf(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}))
	}
	status := corev1.ContainerStatus{Name: wire.ContainerDesktop, State: waiting("ContainerCreating")}
	require.Empty(t, endOf(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}))
	require.Empty(t, endOf(&corev1.Pod{}))
}

// TestUnplaced: the scheduler's first no is none yet.
func TestUnplaced(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "unbound claims", LastTransitionTime: metav1.NewTime(began),
	}}}}
	require.Empty(t, unplaced(pod, began.Add(placing)))
	require.Equal(t, "unbound claims", unplaced(pod, began.Add(placing+time.Second)))
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	require.Empty(t, unplaced(pod, began.Add(time.Hour)))
}

func TestStopOf(t *testing.T) {
	const grace = 4 * time.Second
	for name, c := range map[string]struct {
		after time.Duration
		code  int32
		want  judge.State
		seen  string
	}{
		"soon":                  {time.Second, 0, judge.Passed, "ended 1s after its pod's deletion, with code 0 (it has 4s)"},
		"at once":               {0, 143, judge.Passed, "it ended 0s after"},
		"before it was asked":   {-time.Second, 0, judge.NotJudged, "it had ended already"},
		"at the last moment":    {grace, 143, judge.Passed, "with code 143"},
		"killed":                {grace, 137, judge.Failed, "it did not end on SIGTERM: after 4s it was killed"},
		"killed late":           {grace + 2*time.Second, 137, judge.Failed, "it was killed"},
		"killed by its own":     {time.Second, 137, judge.Passed, "with code 137"},
		"after the end of time": {grace + 2*time.Second, 0, judge.Failed, "it ended only 6s after"},
	} {
		for left := range int64(2) { // the kubelet's own deletion takes the rest of the grace away
			seconds := left * int64(grace/time.Second)
			pod := &corev1.Pod{}
			deadline := metav1.NewTime(began.Add(time.Duration(seconds) * time.Second))
			pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &deadline, &seconds
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: wire.ContainerDesktop, State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: c.code, FinishedAt: metav1.NewTime(began.Add(c.after))},
			}}}
			got := stopOf(pod, grace)
			require.Equal(t, c.want, got.State, name)
			require.Contains(t, got.Seen, c.seen, name)
		}
	}
	require.Equal(t, judge.NotJudged, stopOf(&corev1.Pod{}, grace).State)
	zero := int64(0)
	unknown := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: began}, DeletionGracePeriodSeconds: &zero}}
	unknown.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: wire.ContainerDesktop, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown"},
	}}}
	require.Equal(t, judge.NotJudged, stopOf(unknown, grace).State)
}

func TestWorst(t *testing.T) {
	red, open, green := judge.Fail("red"), judge.Unjudged("open"), judge.Pass("green")
	require.Equal(t, red, worst(green, open, red))
	require.Equal(t, open, worst(open, green))
	require.Equal(t, green, worst(judge.Pass("before"), green))
}
