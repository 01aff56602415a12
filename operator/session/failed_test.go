package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// The wait before a pod that ended is replaced grows with each failure in a row
// and has a ceiling, whatever clocks say; it counts from the report.
func TestRestartIn(t *testing.T) {
	for failures, wait := range map[int32]time.Duration{
		0: 10 * time.Second, 1: 20 * time.Second, 4: 160 * time.Second, 5: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		st := vdi.VDISessionStatus{Phase: vdi.PhaseRunning, PhaseSince: at(noon.Add(-time.Hour)), Failures: failures}
		require.Equal(t, wait, restartIn(st, noon), "not reported yet, after %d failures", failures)
		st.Phase, st.PhaseSince = vdi.PhaseFailed, at(noon)
		require.Equal(t, wait-time.Second, restartIn(st, noon.Add(time.Second)), "after %d failures", failures)
		require.Zero(t, restartIn(st, noon.Add(wait)), "over, after %d failures", failures)
		require.Zero(t, restartIn(st, noon.Add(-24*time.Hour)), "a clock that was wrong, after %d failures", failures)
	}
}

func TestLastWords(t *testing.T) {
	c := corev1.ContainerStatus{Name: "selkies", LastTerminationState: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", Message: "start\nout of luck\n"},
	}}
	require.Equal(t, ": exit code 137, OOMKilled; it needed more than its memory limit (spec.resources.memory); its last words: out of luck", lastEnd(c))
}
