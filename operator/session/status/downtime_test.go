package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

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
		"starting":                       {pod: fixture.PodThat(no, no), phase: vdi.PhaseCreating, counts: true},
		"starting between two crashes":   {pod: fixture.PodThat(no, no), phase: vdi.PhaseCreating, wasFailing: true, counts: true, failing: true},
		"crashing":                       {pod: fixture.PodThat(no, no, fixture.Crashing), phase: vdi.PhaseFailed, counts: true, failing: true},
		"ended": {
			pod:   fixture.PodThat(no, no, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			phase: vdi.PhaseFailed, counts: true, failing: true,
		},
		"running":                    {pod: fixture.PodThat(yes, yes), phase: vdi.PhaseRunning},
		"out of reach":               {pod: fixture.PodThat(yes, yes), phase: vdi.PhaseCreating, counts: true},
		"out of reach after crashes": {pod: fixture.PodThat(yes, yes), phase: vdi.PhaseCreating, wasFailing: true, counts: true},
		"on a node that is silent":   {pod: fixture.PodThat(no, yes), phase: vdi.PhaseCreating},
		"not ready by a gate of its own": {
			pod:   fixture.PodThat(no, yes, func(p *corev1.Pod) { p.Spec.ReadinessGates = make([]corev1.PodReadinessGate, 1) }),
			phase: vdi.PhaseCreating, counts: true,
		},
		"on its way out": {
			pod:   fixture.PodThat(no, no, fixture.Crashing, func(p *corev1.Pod) { p.DeletionTimestamp = fixture.At(fixture.Noon) }),
			phase: vdi.PhaseCreating,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := view{Pass: &plan.Pass{Facts: plan.Facts{Session: &vdi.VDISession{}, Seen: plan.Children{Pod: c.pod}}}}
			counts, failing := p.trouble(c.phase, c.wasFailing)
			require.Equal(t, c.counts, counts, "counts")
			require.Equal(t, c.failing, failing, "fails")
		})
	}
}

// TestCounted: the clock runs, stands still and goes on.
func TestCounted(t *testing.T) {
	require.Nil(t, plan.Counted(nil, false, false, fixture.Noon), "nothing to tell of a desktop that works")
	clock := plan.Counted(nil, true, false, fixture.Noon)
	require.Equal(t, &vdi.DowntimeStatus{Since: fixture.At(fixture.Noon)}, clock)
	require.Equal(t, &vdi.DowntimeStatus{Since: fixture.At(fixture.Noon), Failing: true}, plan.Counted(clock, true, true, fixture.Noon.Add(time.Minute)), "it runs on")
	clock = plan.Counted(clock, false, false, fixture.Noon.Add(time.Minute))
	require.Equal(t, &vdi.DowntimeStatus{Seconds: 60}, clock, "it stands still")
	require.Equal(t, clock, plan.Counted(clock, false, false, fixture.Noon.Add(time.Hour)), "and is not written again")
	clock = plan.Counted(clock, true, true, fixture.Noon.Add(time.Hour))
	require.Equal(t, &vdi.DowntimeStatus{Seconds: 60, Since: fixture.At(fixture.Noon.Add(time.Hour)), Failing: true}, clock, "it goes on")
	require.Equal(t, int64(60), plan.Counted(clock, false, true, fixture.Noon).Seconds, "a clock that went back takes nothing away")
}

// TestCrashLoopEnds: however a desktop that does not work goes on and off, and
// though it runs for minutes in between, the limit is reached in the end.
func TestCrashLoopEnds(t *testing.T) {
	rules := vdi.TemplateLifecycle{MaxFailed: "1h"}
	s := &vdi.VDISession{Spec: vdi.VDISessionSpec{Timeout: "0"}}
	s.Status.StartTime = fixture.At(fixture.Noon)
	now := fixture.Noon
	look := func(pod *corev1.Pod, phase vdi.Phase) plan.Want {
		p := view{Pass: plan.NewPass(s, now, &platform.Config{})}
		p.Seen.Pod = pod
		p.ForgetOldTroubles()
		s.Status.Downtime = p.Downtime
		if s.Status.Phase != phase {
			s.Status.Phase, s.Status.PhaseSince = phase, fixture.At(now)
		}
		p.describeDowntime(&s.Status)
		s.Status.Announcements = plan.Decide(s, rules, now).Announced
		return plan.Decide(s, rules, now).Want
	}
	for round := 0; ; round++ {
		require.Less(t, round, 40, "never ends: %+v", s.Status.Downtime)
		if look(fixture.PodThat(corev1.ConditionFalse, corev1.ConditionFalse, fixture.Crashing), vdi.PhaseFailed) == plan.DeleteSession {
			break
		}
		now = now.Add(2 * time.Minute)
		look(&corev1.Pod{}, vdi.PhasePending)
		now = now.Add(time.Hour) // waiting does not count
		look(fixture.PodThat(corev1.ConditionFalse, corev1.ConditionFalse), vdi.PhaseCreating)
		now = now.Add(time.Minute)
		look(fixture.PodThat(corev1.ConditionTrue, corev1.ConditionTrue), vdi.PhaseRunning)
		now = now.Add(9 * time.Minute) // nor does what works, but it is not forgotten yet
	}
	require.GreaterOrEqual(t, s.Status.Downtime.Seconds, int64(50*60))

	look(fixture.PodThat(corev1.ConditionTrue, corev1.ConditionTrue), vdi.PhaseRunning)
	now = now.Add(plan.ProvenAfter)
	require.Equal(t, plan.Run, look(fixture.PodThat(corev1.ConditionFalse, corev1.ConditionFalse, fixture.Crashing), vdi.PhaseFailed), "a desktop that has proven itself")
	require.Equal(t, &vdi.DowntimeStatus{Since: fixture.At(now), Failing: true}, s.Status.Downtime, "begins anew")
	require.Empty(t, s.Status.Announcements)
}

// TestNodeSilentWords: nobody is told that a desktop starts whose node is gone.
func TestNodeSilentWords(t *testing.T) {
	pod := fixture.PodThat(corev1.ConditionFalse, corev1.ConditionTrue, func(p *corev1.Pod) {
		p.ObjectMeta = metav1.ObjectMeta{Name: "desk"}
	})
	require.Contains(t, desktop.Wait(pod, "", true, nil).Message, "The node node does not answer")
}
