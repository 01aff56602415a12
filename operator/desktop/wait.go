package desktop

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// WhyLeaving is why a pod goes that is wanted. Running says that a run had begun
// and nobody stopped it: then the operator was not the one who deleted the pod.
func WhyLeaving(pod *corev1.Pod, running bool) *verdict.Verdict {
	c := Condition(pod, corev1.DisruptionTarget)
	switch {
	case c != nil && c.Status == corev1.ConditionTrue:
		return restarting(vdi.ReasonEvicted, evictionWords(pod, c))
	case running && !Ended(pod):
		return restarting(vdi.ReasonPodDeleted, "The desktop's pod was deleted; a new one starts with the same home when it is gone")
	default:
		return restarting(vdi.ReasonProgressing, "The former desktop is shutting down; a new one starts when it is gone")
	}
}

// LeavesNode says that a pod goes because an administrator frees its node.
func LeavesNode(pod *corev1.Pod) *verdict.Verdict {
	return restarting(vdi.ReasonEvicted, leavingFor(fmt.Sprintf("the node %s is being freed", pod.Spec.NodeName)))
}

func restarting(reason, message string) *verdict.Verdict {
	return &verdict.Verdict{Condition: vdi.ConditionDesktopReady, Reason: reason, Phase: vdi.PhaseCreating, Message: message}
}

// evictionWords say who wants the pod to go. The reasons are those of the pod
// condition DisruptionTarget (Kubernetes, "Disruptions").
func evictionWords(pod *corev1.Pod, c *corev1.PodCondition) string {
	var why string
	switch c.Reason {
	case "DeletionByTaintManager":
		return fmt.Sprintf("The node %s does not answer. The desktop starts on another node when it is back or has been removed from the cluster; until then the home may still be written to", pod.Spec.NodeName)
	case "EvictionByEvictionAPI":
		why = fmt.Sprintf("the node %s is being drained", pod.Spec.NodeName)
	case corev1.PodReasonPreemptionByScheduler:
		why = "a pod of higher priority needs the room"
	default:
		why = c.Message
	}
	return leavingFor(why)
}

func leavingFor(why string) string {
	return "The desktop has to leave its node (" + why + "); it starts again on another one with the same home"
}

// Wait says in words what a pod that is not ready waits for. Worked is whether its
// desktop has been Running, and why is what was found out beside the pod; nil when
// nothing was.
func Wait(pod *corev1.Pod, gpuResource string, worked bool, why *verdict.Verdict) *verdict.Verdict {
	switch {
	case Ended(pod):
		return whyFailed(pod, worked)
	case !Scheduled(pod) && why != nil:
		return why
	case !Scheduled(pod):
		return Unscheduled(pod, gpuResource)
	default:
		return containerWait(pod, worked, why)
	}
}

// whyFailed is why a pod ended by itself; clearFailed replaces it.
func whyFailed(pod *corev1.Pod, worked bool) *verdict.Verdict {
	words := pod.Status.Message
	if last, found := LastExit(pod, worked); found && words == "" {
		words = last.Words(pod)
	}
	if words == "" {
		words = string(pod.Status.Phase)
	}
	if pod.Status.Reason != "" {
		words = pod.Status.Reason + ": " + words
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionDesktopReady, Reason: vdi.ReasonPodFailed, Phase: vdi.PhaseFailed,
		Message: "The desktop's pod ended: " + strings.TrimSuffix(words, ".") + ". The home is kept, and a new desktop starts in a moment",
	}
}

// Unscheduled makes the scheduler's words readable. A pod that waits, also for a
// node that is being added, is Pending and never Failed.
func Unscheduled(pod *corev1.Pod, gpuResource string) *verdict.Verdict {
	c := Condition(pod, corev1.PodScheduled)
	if !Unschedulable(pod) {
		return &verdict.Verdict{
			Condition: vdi.ConditionScheduled, Reason: vdi.ReasonProgressing, Phase: vdi.PhasePending,
			Message: "The desktop is being placed on a node",
		}
	}
	v := &verdict.Verdict{Condition: vdi.ConditionScheduled, Reason: vdi.ReasonUnschedulable, Phase: vdi.PhasePending}
	says := SchedulerWords(c)
	switch {
	case gpuResource != "" && strings.Contains(c.Message, "Insufficient "+gpuResource):
		v.Waiting = vdi.WaitingForGPU
		v.Message = "Waiting for a GPU: all slices of " + gpuResource + " are in use; the desktop starts when another session ends. The scheduler says: " + says
	case WaitsForVolume(pod):
		v.Waiting = vdi.WaitingForVolume
		v.Message = "Waiting for the home volume. The scheduler says: " + says
	default:
		v.Waiting = vdi.WaitingForNode
		v.Message = "Waiting for a node with room for the desktop. The scheduler says: " + says
	}
	return v
}

// SchedulerWords are why; whom it would not have pushed aside is no help. The end of what
// it says may stand there twice: of what it found, and of what preemption came to.
func SchedulerWords(c *corev1.PodCondition) string {
	says, _, _ := strings.Cut(c.Message, " preemption:")
	if i := strings.LastIndex(says, ". "); i >= 0 && strings.HasSuffix(says[:i], says[i+len(". "):]) {
		return says[:i]
	}
	return says
}

// containerWait says what keeps a placed pod from being ready.
func containerWait(pod *corev1.Pod, worked bool, why *verdict.Verdict) *verdict.Verdict {
	for _, status := range Containers(pod) {
		if v := WaitingContainer(pod, status, worked); v != nil {
			return v
		}
	}
	last, ended := LastExit(pod, worked)
	switch {
	case NodeSilent(pod):
		return verdict.Progressing(vdi.ConditionDesktopReady, fmt.Sprintf("The node %s does not answer, so nobody knows how the desktop is; it goes on when the node is back", pod.Spec.NodeName))
	case Running(pod) && ended:
		return verdict.Progressing(vdi.ConditionDesktopReady, verdict.Sentences("The desktop does not answer yet", last.Words(pod), "It started anew"))
	case Running(pod):
		return verdict.Progressing(vdi.ConditionDesktopReady, "The desktop has started and does not answer yet")
	case ended:
		return verdict.Progressing(vdi.ConditionDesktopReady, verdict.Sentences(last.Words(pod), "It starts anew"))
	case why != nil:
		return why
	}
	return verdict.Progressing(vdi.ConditionDesktopReady, "The node is preparing the image and the home")
}

// WaitingContainer is what an unhappy container waits for; nil for the plain steps of a
// start.
func WaitingContainer(pod *corev1.Pod, c corev1.ContainerStatus, worked bool) *verdict.Verdict {
	w := c.State.Waiting
	if w == nil {
		return nil
	}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
		return &verdict.Verdict{
			Condition: vdi.ConditionDesktopReady, Reason: vdi.ReasonImagePull, Phase: vdi.PhaseCreating,
			Waiting: vdi.WaitingForImage, Stalled: true,
			Message: fmt.Sprintf("The image %s cannot be pulled: %s", c.Image, w.Message),
		}
	case "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return failingContainer(pod, c, worked)
	default:
		return nil
	}
}

// failingContainer is about a container that does not come to run, or does not go on
// running. Who leaves a desktop twice waits for the next like one that fails.
func failingContainer(pod *corev1.Pod, c corev1.ContainerStatus, worked bool) *verdict.Verdict {
	w, ended := c.State.Waiting, c.LastTerminationState.Terminated
	last := Exit{c.Name, ended, worked}
	v := &verdict.Verdict{Condition: vdi.ConditionDesktopReady, Reason: vdi.ReasonCrashLoop, Phase: vdi.PhaseFailed, Stalled: true}
	switch {
	case ended == nil || w.Reason != "CrashLoopBackOff": // it has not run this time
		v.Message = fmt.Sprintf("The container %s keeps failing (%s): %s", c.Name, w.Reason, w.Message)
	case last.wasLeft():
		return verdict.Progressing(vdi.ConditionDesktopReady, verdict.Sentences(last.Words(pod), "It starts anew in a moment, each time a little later"))
	default:
		v.Message = verdict.Sentences(fmt.Sprintf("The container %s keeps failing (%s)", c.Name, w.Reason), last.Words(pod), logHint(pod, c.Name))
	}
	return v
}
