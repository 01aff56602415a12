package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

// looks are passes over one session, each with the status that the one before has written.
type looks struct {
	began, now time.Time
	session    *vdi.VDISession
}

func newLooks() *looks {
	began := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	return &looks{began, began.Add(90 * time.Minute), &vdi.VDISession{Status: vdi.VDISessionStatus{
		Run:     &vdi.RunStatus{PodUID: "former", Begin: metav1.NewTime(began), GPUSlices: 2, Cost: "0.5"},
		Budgets: []vdi.RunBudget{{Quota: "all"}},
	}}}
}

// look is a pass that sees a pod, or none, and has counted what is over, or has not.
func (l *looks) look(pod *corev1.Pod, counted bool) vdi.VDISessionStatus {
	p := plan.NewPass(l.session, l.now, &platform.Config{})
	p.Gathered, p.Seen.Pod, p.Accounts, p.Counted, p.Decision.Want = true, pod, true, counted, plan.Run
	if over := p.OverRun(); over.UID != "" {
		p.RunOver = &over
	}
	after := l.session.Status.DeepCopy()
	view{Pass: p}.describeRuns(after)
	l.session.Status = *after
	return *after.DeepCopy()
}

// aPod has a node, since a time.
func aPod(uid types.UID, since time.Time) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, CreationTimestamp: metav1.NewTime(since)}, Spec: corev1.PodSpec{NodeName: "node-1"}}
}

func (l *looks) record(uid types.UID) vdi.RunRecord {
	return vdi.RunRecord{PodUID: uid, Begin: metav1.NewTime(l.began), End: metav1.NewTime(l.began.Add(90 * time.Minute)), Why: vdi.StopIdle, GPUHours: "1.50"}
}

// A pod that is gone is counted once, with the end that was seen first, whenever it can be
// written down, and for the reason for which it was stopped.
func TestRunIsCounted(t *testing.T) {
	t.Parallel()
	l := newLooks()
	leaves := aPod("former", l.began)
	leaves.DeletionTimestamp = new(metav1.NewTime(l.now))
	l.session.Status.StopReason = vdi.StopIdle
	require.Equal(t, vdi.StopIdle, l.look(leaves, false).Run.Why)
	l.session.Status.StopReason = "" // somebody resumes it meanwhile
	require.Equal(t, vdi.StopIdle, l.look(leaves, false).Run.Why)
	leaves.Status.Phase = corev1.PodSucceeded
	require.Nil(t, l.look(leaves, false).Run.End, "it is gone in a moment")

	first := l.look(nil, false)
	require.Equal(t, l.now, first.Run.End.Time)
	require.Empty(t, first.Runs)
	require.Empty(t, first.Budgets, "the next start is another run")
	l.now = l.now.Add(time.Hour)
	require.Equal(t, first, l.look(nil, false), "it has not gone on")
	later := l.look(aPod("next", l.now), false)
	require.Equal(t, first.Run, later.Run, "also while the next one runs")
	done := l.look(aPod("next", l.now), true)
	require.Equal(t, []vdi.RunRecord{l.record("former")}, done.Runs)
	require.Equal(t, &vdi.RunStatus{PodUID: "next", Begin: metav1.NewTime(l.now)}, done.Run)
	require.Equal(t, done, l.look(aPod("next", l.now), false))
}

// A pod that has ended by itself holds nothing, though it is still there.
func TestEndedPodIsCounted(t *testing.T) {
	t.Parallel()
	l := newLooks()
	pod := aPod("former", l.began)
	pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(l.now.Add(-time.Hour))}}},
	}}
	record := l.record("former")
	record.End, record.Why, record.GPUHours = metav1.NewTime(l.now.Add(-time.Hour)), "", "0.50"
	counted := l.look(pod, true)
	require.Equal(t, []vdi.RunRecord{record}, counted.Runs)
	require.Equal(t, record.End, *counted.Run.End)
	require.Len(t, counted.Budgets, 1, "the platform starts it again")
	require.Equal(t, counted, l.look(pod, false), "once")
	next := l.look(aPod("next", l.now), false)
	require.Equal(t, types.UID("next"), next.Run.PodUID)
	require.Len(t, next.Runs, 1)
	require.Len(t, next.Budgets, 1)

	l = newLooks()
	l.session.Status.Run = nil // nobody has seen it live
	require.Equal(t, types.UID("former"), l.look(pod, true).Runs[0].PodUID)
	require.Nil(t, l.look(nil, false).Run)
	require.Len(t, l.session.Status.Runs, 1)
}

// What budgets a run has is forgotten when it was stopped, and not before: a stop may fail, or be
// taken back.
func TestBudgetsOfARun(t *testing.T) {
	t.Parallel()
	l := newLooks()
	l.session.Spec.RunPolicy = vdi.RunPolicySuspended
	l.session.Status.StopReason = vdi.StopIdle
	require.Len(t, l.look(aPod("former", l.began), false).Budgets, 1)
	l.session.Spec.RunPolicy, l.session.Status.StopReason = vdi.RunPolicyRunning, ""
	back := l.look(aPod("former", l.began), false)
	require.Len(t, back.Budgets, 1)
	require.Empty(t, back.Run.Why)
	l.session.Spec.RunPolicy = vdi.RunPolicySuspended
	require.Empty(t, l.look(nil, true).Budgets)
}

// The last ten are shown.
func TestLastRuns(t *testing.T) {
	t.Parallel()
	l := newLooks()
	for i := range 2 * keptRuns {
		l.look(aPod(types.UID(rune('a'+i)), l.now), true)
	}
	require.Len(t, l.look(nil, true).Runs, keptRuns)
	require.Equal(t, types.UID(rune('a'+2*keptRuns-1)), l.session.Status.Runs[keptRuns-1].PodUID)
	blind := plan.NewPass(l.session, l.now, &platform.Config{})
	after := l.session.Status.DeepCopy()
	view{Pass: blind}.describeRuns(after)
	require.Equal(t, l.session.Status, *after, "nothing was looked at")
}
