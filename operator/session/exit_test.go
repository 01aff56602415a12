package session

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// secret is what a desktop writes that nobody else may read.
const secret = "token=hunter2"

// an end of a container after a minute.
func end(code int32, reason, written string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, Message: written, StartedAt: *at(noon), FinishedAt: *at(noon.Add(time.Minute)),
	}
}

// ended gives the desktop's container its last end.
func ended(t *corev1.ContainerStateTerminated) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses[0].LastTerminationState.Terminated = t }
}

func limited(p *corev1.Pod) {
	p.Spec.Containers = []corev1.Container{{Name: wire.ContainerDesktop, Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}}}}
}

func atHome(p *corev1.Pod) {
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000)}
	p.Spec.Volumes = []corev1.Volume{{Name: wire.VolumeHome, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "vdi-data-desk"}}}}
}

// TestExitWords is what is said about each way in which a desktop ends.
func TestExitWords(t *testing.T) {
	short := end(0, "Completed", "")
	short.FinishedAt = *at(noon.Add(time.Second))
	for name, c := range map[string]struct {
		end  *corev1.ContainerStateTerminated
		says string
	}{
		"left":                {end(0, "Completed", secret), "The desktop was left: its main program ended by itself"},
		"starts no desktop":   {short, "with exit code 0 before it had worked"},
		"out of memory":       {end(137, "OOMKilled", secret), "more memory than its limit of 512Mi (spec.resources.memory)"},
		"killed":              {end(137, "Error", secret), "was ended by signal 9 (killed)"},
		"crashed":             {end(139, "Error", secret), "signal 11 (segmentation fault)"},
		"an error":            {end(3, "Error", secret), "The desktop ended with exit code 3"},
		"beyond signals":      {end(255, "Error", secret), "ended with exit code 255"},
		"may not write":       {end(1, "Error", secret+"\nmkdir: cannot create directory: Permission denied"), "is the home vdi-data-desk writable for uid 1000?"},
		"says not writable":   {end(1, "Error", "the home is not writable for uid 1000 "+secret), "is the home vdi-data-desk writable for uid 1000?"},
		"disk full":           {end(1, "Error", "write: No space left on device"), "a disk is full"},
		"wrong processor":     {end(1, "Error", "exec format error"), "another processor"},
		"not executable":      {end(126, "Error", ""), "may not be executed"},
		"not there":           {end(127, "Error", ""), "not in its image"},
		"never started":       {end(128, "StartError", `exec: "/nothere": no such file`), `could not be started: exec: "/nothere"`},
		"gone with its node":  {end(137, "ContainerStatusUnknown", ""), "nobody knows how"},
		"the agent's trouble": {end(2, "Error", ""), "The desktop ended with exit code 2"},
	} {
		pod := aPod(placed, limited, atHome, ended(c.end))
		last, found := lastExit(pod, true)
		require.True(t, found, name)
		status := last.status(pod)
		require.Contains(t, status.Message, c.says, name)
		require.NotContains(t, status.Message, secret, name)
		require.Equal(t, []any{wire.ContainerDesktop, c.end.ExitCode, c.end.Reason}, []any{status.Container, status.ExitCode, status.Reason}, name)
	}
}

// What ends with its pod, or has only prepared it, is no end of the desktop.
func TestNoExit(t *testing.T) {
	prepared := func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "skeleton", State: corev1.ContainerState{Terminated: end(0, "Completed", "")}}}
	}
	disrupted := func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
	}
	for name, pod := range map[string]*corev1.Pod{
		"none":       aPod(placed),
		"deleted":    aPod(placed, going, ended(end(143, "Error", ""))),
		"drained":    aPod(placed, disrupted, ended(end(143, "Error", ""))),
		"evicted":    aPod(placed, failed("Evicted", "low on memory"), ended(end(137, "Error", ""))),
		"skeleton":   aPod(placed, prepared),
		"no pod yet": nil,
	} {
		_, found := lastExit(pod, true)
		require.False(t, found, name)
	}
}

// A node that was lost does not say when its containers ended; that is no news each time.
func TestExitWithoutTime(t *testing.T) {
	unknown := &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown"}
	pod := aPod(placed, ready, ended(unknown))
	last, found := lastExit(pod, true)
	require.True(t, found)
	text, err := json.Marshal(last.status(pod))
	require.NoError(t, err)
	stored := &vdi.ExitStatus{}
	require.NoError(t, json.Unmarshal(text, stored))
	is := vdi.VDISessionStatus{LastExit: last.status(pod)}
	require.True(t, statusEqual(vdi.VDISessionStatus{LastExit: stored}, is))
	require.Empty(t, exitEvents(vdi.VDISessionStatus{LastExit: stored}, is))
}

// The latest of several ends counts, and one that was over before anybody saw it is news.
func TestLatestExit(t *testing.T) {
	pod := aPod(placed, ready)
	before := podNews(pod)
	agent := end(1, "Error", "")
	agent.FinishedAt = *at(noon.Add(time.Hour))
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "agent", LastTerminationState: corev1.ContainerState{Terminated: agent}}}
	ended(end(137, "OOMKilled", ""))(pod)
	last, found := lastExit(pod, true)
	require.True(t, found)
	require.Equal(t, "agent", last.container)
	require.Contains(t, last.words(pod), "The container agent ended with exit code 1")
	require.NotEqual(t, before, podNews(pod))
}

// Who logs out twice waits longer each time, but nothing has failed.
func TestLeftIsNoFailure(t *testing.T) {
	left := aPod(placed, waits("CrashLoopBackOff", "back-off"), ended(end(0, "Completed", "")))
	require.False(t, crashes(left, true))
	require.Equal(t, vdi.PhaseCreating, podWait(left, "", true, nil).phase)
	failing := aPod(placed, waits("CrashLoopBackOff", "back-off"), ended(end(1, "Error", secret)))
	require.True(t, crashes(failing, true))
	require.True(t, crashes(left, false), "who has never worked was not left")
	h := podWait(failing, "", true, nil)
	require.Equal(t, vdi.PhaseFailed, h.phase)
	require.NotContains(t, h.message, secret)
	require.Contains(t, h.message, "kubectl logs -n  desk -c selkies --previous")
}

// An end is reported once, and forgotten when the next run works.
func TestExitInStatus(t *testing.T) {
	look := func(before vdi.VDISessionStatus, pod *corev1.Pod) vdi.VDISessionStatus {
		p := pass{now: noon, session: aSession(), template: &vdi.VDITemplate{}, decision: decision{want: wantRun}, seen: children{pod: pod}, reachable: reachAnswered}
		p.session.Status = before
		return statusOf(&p, before, nil)
	}
	start := aSession().Status
	broken := look(start, aPod(placed, waits("CrashLoopBackOff", "back-off"), ended(end(1, "Error", ""))))
	require.Equal(t, int32(1), broken.LastExit.ExitCode)
	require.Equal(t, []happening{{corev1.EventTypeWarning, "DesktopEnded", "Restart", "The desktop ended with exit code 1"}}, exitEvents(start, broken))
	require.Empty(t, exitEvents(broken, broken))

	stopped := broken
	stopped.StartTime = nil
	require.Nil(t, look(stopped, aPod(placed, ready)).LastExit, "another pod that works")
	running := broken
	running.StartTime = at(noon)
	require.NotNil(t, look(running, aPod(placed, ready)).LastExit, "the same run")

	oom := look(start, aPod(placed, ready, limited, ended(end(137, "OOMKilled", ""))))
	require.Equal(t, vdi.PhaseRunning, oom.Phase)
	require.Contains(t, oom.LastExit.Message, "memory")
	require.Len(t, exitEvents(broken, oom), 0, "the same moment")
	later := oom.DeepCopy()
	later.LastExit.At = &metav1.Time{Time: noon.Add(time.Hour)}
	require.Len(t, exitEvents(oom, *later), 1)
}
