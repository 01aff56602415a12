package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
)

// The wait before a pod that ended is replaced grows with each failure in a row
// and has a ceiling; it counts from the first look, whatever clocks say.
func TestRestartAfter(t *testing.T) {
	for failures, wait := range map[int32]time.Duration{
		0: 10 * time.Second, 1: 20 * time.Second, 4: 160 * time.Second, 5: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		require.Equal(t, wait, restartAfter(failures), "after %d failures", failures)
	}
	var f endedPods
	p := asking("first")
	look := func(after time.Duration) time.Duration {
		p.Now = fixture.Noon.Add(after)
		return f.age(p)
	}
	require.Zero(t, look(0))
	require.Equal(t, time.Minute, look(time.Minute))
	require.Zero(t, look(-time.Hour), "a clock that went back")
	require.Equal(t, time.Minute, look(time.Minute-time.Hour))
	p.Seen.Pod.UID = "second"
	require.Zero(t, look(0), "another pod")
}

// asking is a session whose desktop is up, and an operator whose questions are
// answered after a while.
func asking(pod types.UID) *plan.Pass {
	return &plan.Pass{
		Session: &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "desk"}},
		Now:     time.Now(),
		Seen:    plan.Children{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod}}},
	}
}
