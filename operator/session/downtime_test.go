package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// podThat has a node, with the conditions Ready and ContainersReady.
func podThat(ready, containers corev1.ConditionStatus, more ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: ready}, {Type: corev1.ContainersReady, Status: containers},
	}}}
	for _, change := range more {
		change(pod)
	}
	return pod
}

func crashing(pod *corev1.Pod) {
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
}

// TestTrouble: what counts as a run that does not work, and what as one that
// fails by itself.
func TestTrouble(t *testing.T) {
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	for name, c := range map[string]struct {
		pod             *corev1.Pod
		phase           vdi.Phase
		wasFailing      bool
		counts, failing bool
	}{
		"no desktop":                     {phase: vdi.PhasePending},
		"no desktop between two tries":   {phase: vdi.PhasePending, wasFailing: true, failing: true},
		"refused before it had one":      {phase: vdi.PhaseFailed},
		"waiting for a node":             {pod: &corev1.Pod{}, phase: vdi.PhasePending},
		"waiting for one after failures": {pod: &corev1.Pod{}, phase: vdi.PhasePending, wasFailing: true, failing: true},
		"starting":                       {pod: podThat(no, no), phase: vdi.PhaseCreating, counts: true},
		"starting between two crashes":   {pod: podThat(no, no), phase: vdi.PhaseCreating, wasFailing: true, counts: true, failing: true},
		"crashing":                       {pod: podThat(no, no, crashing), phase: vdi.PhaseFailed, counts: true, failing: true},
		"ended": {
			pod:   podThat(no, no, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			phase: vdi.PhaseFailed, counts: true, failing: true,
		},
		"running":                    {pod: podThat(yes, yes), phase: vdi.PhaseRunning},
		"out of reach":               {pod: podThat(yes, yes), phase: vdi.PhaseCreating, counts: true},
		"out of reach after crashes": {pod: podThat(yes, yes), phase: vdi.PhaseCreating, wasFailing: true, counts: true},
		"on a node that is silent":   {pod: podThat(no, yes), phase: vdi.PhaseCreating},
		"not ready by a gate of its own": {
			pod:   podThat(no, yes, func(p *corev1.Pod) { p.Spec.ReadinessGates = make([]corev1.PodReadinessGate, 1) }),
			phase: vdi.PhaseCreating, counts: true,
		},
		"on its way out": {
			pod:   podThat(no, no, crashing, func(p *corev1.Pod) { p.DeletionTimestamp = at(noon) }),
			phase: vdi.PhaseCreating,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{session: &vdi.VDISession{}, seen: children{pod: c.pod}}
			counts, failing := p.trouble(c.phase, c.wasFailing)
			require.Equal(t, c.counts, counts, "counts")
			require.Equal(t, c.failing, failing, "fails")
		})
	}
}

// TestCounted: the clock runs, stands still and goes on.
func TestCounted(t *testing.T) {
	require.Nil(t, counted(nil, false, false, noon), "nothing to tell of a desktop that works")
	clock := counted(nil, true, false, noon)
	require.Equal(t, &vdi.DowntimeStatus{Since: at(noon)}, clock)
	require.Equal(t, &vdi.DowntimeStatus{Since: at(noon), Failing: true}, counted(clock, true, true, noon.Add(time.Minute)), "it runs on")
	clock = counted(clock, false, false, noon.Add(time.Minute))
	require.Equal(t, &vdi.DowntimeStatus{Seconds: 60}, clock, "it stands still")
	require.Equal(t, clock, counted(clock, false, false, noon.Add(time.Hour)), "and is not written again")
	clock = counted(clock, true, true, noon.Add(time.Hour))
	require.Equal(t, &vdi.DowntimeStatus{Seconds: 60, Since: at(noon.Add(time.Hour)), Failing: true}, clock, "it goes on")
	require.Equal(t, int64(60), counted(clock, false, true, noon).Seconds, "a clock that went back takes nothing away")
}

// TestCrashLoopEnds: however a desktop that does not work goes on and off, and
// though it runs for minutes in between, the limit is reached in the end.
func TestCrashLoopEnds(t *testing.T) {
	rules := vdi.TemplateLifecycle{MaxFailed: "1h"}
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{Timeout: "0"}}
	s.Status.StartTime = at(noon)
	now := noon
	look := func(pod *corev1.Pod, phase vdi.Phase) want {
		p := &pass{session: s, now: now, seen: children{pod: pod}}
		p.forgetOldTroubles()
		if s.Status.Phase != phase {
			s.Status.Phase, s.Status.PhaseSince = phase, at(now)
		}
		p.describeDowntime(&s.Status)
		s.Status.Announcements = decide(s, rules, now).announced
		return decide(s, rules, now).want
	}
	for round := 0; ; round++ {
		require.Less(t, round, 40, "never ends: %+v", s.Status.Downtime)
		if look(podThat(corev1.ConditionFalse, corev1.ConditionFalse, crashing), vdi.PhaseFailed) == wantEnd {
			break
		}
		now = now.Add(2 * time.Minute)
		look(&corev1.Pod{}, vdi.PhasePending)
		now = now.Add(time.Hour) // waiting does not count
		look(podThat(corev1.ConditionFalse, corev1.ConditionFalse), vdi.PhaseCreating)
		now = now.Add(time.Minute)
		look(podThat(corev1.ConditionTrue, corev1.ConditionTrue), vdi.PhaseRunning)
		now = now.Add(9 * time.Minute) // nor does what works, but it is not forgotten yet
	}
	require.GreaterOrEqual(t, s.Status.Downtime.Seconds, int64(50*60))

	look(podThat(corev1.ConditionTrue, corev1.ConditionTrue), vdi.PhaseRunning)
	now = now.Add(provenAfter)
	require.Equal(t, wantRun, look(podThat(corev1.ConditionFalse, corev1.ConditionFalse, crashing), vdi.PhaseFailed), "a desktop that has proven itself")
	require.Equal(t, &vdi.DowntimeStatus{Since: at(now), Failing: true}, s.Status.Downtime, "begins anew")
	require.Empty(t, s.Status.Announcements)
}

// TestNodeSilentWords: nobody is told that a desktop starts whose node is gone.
func TestNodeSilentWords(t *testing.T) {
	pod := podThat(corev1.ConditionFalse, corev1.ConditionTrue, func(p *corev1.Pod) {
		p.ObjectMeta = metav1.ObjectMeta{Name: "desk"}
	})
	require.Contains(t, podWait(pod, "", true, nil).message, "The node node does not answer")
}
