package status

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// secret is what a desktop writes that nobody else may read.
const secret = "token=hunter2"

func limited(p *corev1.Pod) {
	p.Spec.Containers = []corev1.Container{{Name: wire.ContainerDesktop, Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}}}}
}

// TestExitWords is what is said about each way in which a desktop ends.
func TestExitWords(t *testing.T) {
	short := fixture.End(0, "Completed", "")
	short.FinishedAt = *fixture.At(fixture.Noon.Add(time.Second))
	for name, c := range map[string]struct {
		end  *corev1.ContainerStateTerminated
		says string
	}{
		"left":                {fixture.End(0, "Completed", secret), "The desktop was left: its main program ended by itself"},
		"starts no desktop":   {short, "with exit code 0 before it had worked"},
		"out of memory":       {fixture.End(137, "OOMKilled", secret), "more memory than its limit of 512Mi (spec.resources.memory)"},
		"killed":              {fixture.End(137, "Error", secret), "was ended by signal 9 (killed)"},
		"crashed":             {fixture.End(139, "Error", secret), "signal 11 (segmentation fault)"},
		"an error":            {fixture.End(3, "Error", secret), "The desktop ended with exit code 3"},
		"beyond signals":      {fixture.End(255, "Error", secret), "ended with exit code 255"},
		"may not write":       {fixture.End(1, "Error", secret+"\nmkdir: cannot create directory: Permission denied"), "is the home vdi-data-desk writable for uid 1000?"},
		"says not writable":   {fixture.End(1, "Error", "the home is not writable for uid 1000 "+secret), "is the home vdi-data-desk writable for uid 1000?"},
		"disk full":           {fixture.End(1, "Error", "write: No space left on device"), "a disk is full"},
		"wrong processor":     {fixture.End(1, "Error", "exec format error"), "another processor"},
		"not executable":      {fixture.End(126, "Error", ""), "may not be executed"},
		"not there":           {fixture.End(127, "Error", ""), "not in its image"},
		"never started":       {fixture.End(128, "StartError", `exec: "/nothere": no such file`), `could not be started: exec: "/nothere"`},
		"gone with its node":  {fixture.End(137, "ContainerStatusUnknown", ""), "nobody knows how"},
		"the agent's trouble": {fixture.End(2, "Error", ""), "The desktop ended with exit code 2"},
	} {
		pod := fixture.Pod(fixture.Placed, limited, fixture.AtHome, fixture.Ended(c.end))
		last, found := desktop.LastExit(pod, true)
		require.True(t, found, name)
		status := last.Status(pod)
		require.Contains(t, status.Message, c.says, name)
		require.NotContains(t, status.Message, secret, name)
		require.Equal(t, []any{wire.ContainerDesktop, c.end.ExitCode, c.end.Reason}, []any{status.Container, status.ExitCode, status.Reason}, name)
	}
}

// What ends with its pod, or has only prepared it, is no end of the desktop.
func TestNoExit(t *testing.T) {
	prepared := func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "skeleton", State: corev1.ContainerState{Terminated: fixture.End(0, "Completed", "")}}}
	}
	disrupted := func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
	}
	for name, pod := range map[string]*corev1.Pod{
		"none":       fixture.Pod(fixture.Placed),
		"deleted":    fixture.Pod(fixture.Placed, fixture.Going, fixture.Ended(fixture.End(143, "Error", ""))),
		"drained":    fixture.Pod(fixture.Placed, disrupted, fixture.Ended(fixture.End(143, "Error", ""))),
		"evicted":    fixture.Pod(fixture.Placed, fixture.Failed("Evicted", "low on memory"), fixture.Ended(fixture.End(137, "Error", ""))),
		"skeleton":   fixture.Pod(fixture.Placed, prepared),
		"no pod yet": nil,
	} {
		_, found := desktop.LastExit(pod, true)
		require.False(t, found, name)
	}
}

// A node that was lost does not say when its containers ended; that is no news each time.
func TestExitWithoutTime(t *testing.T) {
	unknown := &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown"}
	pod := fixture.Pod(fixture.Placed, fixture.Ready, fixture.Ended(unknown))
	last, found := desktop.LastExit(pod, true)
	require.True(t, found)
	text, err := json.Marshal(last.Status(pod))
	require.NoError(t, err)
	stored := &vdi.ExitStatus{}
	require.NoError(t, json.Unmarshal(text, stored))
	is := vdi.VDISessionStatus{LastExit: last.Status(pod)}
	require.True(t, Equal(vdi.VDISessionStatus{LastExit: stored}, is))
	require.Empty(t, exitEvents(vdi.VDISessionStatus{LastExit: stored}, is))
}

// The latest of several ends counts, and one that was over before anybody saw it is news.
func TestLatestExit(t *testing.T) {
	pod := fixture.Pod(fixture.Placed, fixture.Ready)
	before := desktop.News(pod)
	agent := fixture.End(1, "Error", "")
	agent.FinishedAt = *fixture.At(fixture.Noon.Add(time.Hour))
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "agent", LastTerminationState: corev1.ContainerState{Terminated: agent}}}
	fixture.Ended(fixture.End(137, "OOMKilled", ""))(pod)
	last, found := desktop.LastExit(pod, true)
	require.True(t, found)
	require.Equal(t, "agent", last.Container)
	require.Contains(t, last.Words(pod), "The container agent ended with exit code 1")
	require.NotEqual(t, before, desktop.News(pod))
}

// Who logs out twice waits longer each time, but nothing has failed.
func TestLeftIsNoFailure(t *testing.T) {
	left := fixture.Pod(fixture.Placed, fixture.Waits("CrashLoopBackOff", "back-off"), fixture.Ended(fixture.End(0, "Completed", "")))
	require.False(t, desktop.Crashes(left, true))
	require.Equal(t, vdi.PhaseCreating, desktop.Wait(left, "", true, nil).Phase)
	failing := fixture.Pod(fixture.Placed, fixture.Waits("CrashLoopBackOff", "back-off"), fixture.Ended(fixture.End(1, "Error", secret)))
	require.True(t, desktop.Crashes(failing, true))
	require.True(t, desktop.Crashes(left, false), "who has never worked was not left")
	h := desktop.Wait(failing, "", true, nil)
	require.Equal(t, vdi.PhaseFailed, h.Phase)
	require.NotContains(t, h.Message, secret)
	require.Contains(t, h.Message, "kubectl logs -n  desk -c selkies --previous")
}

// An end is reported once, and forgotten when the next run works.
func TestExitInStatus(t *testing.T) {
	look := func(before vdi.VDISessionStatus, pod *corev1.Pod) vdi.VDISessionStatus {
		p := plan.Pass{Facts: plan.Facts{Session: fixture.Session(), Template: &vdi.VDITemplate{}, Seen: plan.Children{Pod: pod}}, Plan: plan.Plan{Now: fixture.Noon, Decision: plan.Decision{Want: plan.Run}}, Outcome: plan.Outcome{Reach: plan.ReachAnswered}}
		p.Session.Status = before
		return described(&p, nil)
	}
	start := fixture.Session().Status
	broken := look(start, fixture.Pod(fixture.Placed, fixture.Waits("CrashLoopBackOff", "back-off"), fixture.Ended(fixture.End(1, "Error", ""))))
	require.Equal(t, int32(1), broken.LastExit.ExitCode)
	require.Equal(t, []Event{{corev1.EventTypeWarning, "DesktopEnded", "Restart", "The desktop ended with exit code 1"}}, exitEvents(start, broken))
	require.Empty(t, exitEvents(broken, broken))

	stopped := broken
	stopped.StartTime = nil
	require.Nil(t, look(stopped, fixture.Pod(fixture.Placed, fixture.Ready)).LastExit, "another pod that works")
	running := broken
	running.StartTime = fixture.At(fixture.Noon)
	require.NotNil(t, look(running, fixture.Pod(fixture.Placed, fixture.Ready)).LastExit, "the same run")

	oom := look(start, fixture.Pod(fixture.Placed, fixture.Ready, limited, fixture.Ended(fixture.End(137, "OOMKilled", ""))))
	require.Equal(t, vdi.PhaseRunning, oom.Phase)
	require.Contains(t, oom.LastExit.Message, "memory")
	require.Len(t, exitEvents(broken, oom), 0, "the same moment")
	later := oom.DeepCopy()
	later.LastExit.At = &metav1.Time{Time: fixture.Noon.Add(time.Hour)}
	require.Len(t, exitEvents(oom, *later), 1)
}
