package session

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

func podReady(pod *corev1.Pod) bool {
	c := podCondition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil && !podEnded(pod)
}

func podScheduled(pod *corev1.Pod) bool {
	return pod != nil && pod.Spec.NodeName != ""
}

// podWait says in words what a pod that is not ready waits for. Worked is whether its
// desktop has been Running, and why is what was found out beside the pod; nil when
// nothing was.
func podWait(pod *corev1.Pod, gpuResource string, worked bool, why *halt) *halt {
	switch {
	case podEnded(pod):
		return podFailed(pod, worked)
	case !podScheduled(pod) && why != nil:
		return why
	case !podScheduled(pod):
		return unscheduled(pod, gpuResource)
	default:
		return containerWait(pod, worked, why)
	}
}

func progressing(condition, message string) *halt {
	return &halt{condition: condition, reason: vdi.ReasonProgressing, phase: vdi.PhaseCreating, message: message}
}

// podFailed tells why a pod ended by itself; clearFailed replaces it.
func podFailed(pod *corev1.Pod, worked bool) *halt {
	words := pod.Status.Message
	if last, found := lastExit(pod, worked); found && words == "" {
		words = last.words(pod)
	}
	if words == "" {
		words = string(pod.Status.Phase)
	}
	if pod.Status.Reason != "" {
		words = pod.Status.Reason + ": " + words
	}
	return &halt{
		condition: vdi.ConditionDesktopReady, reason: vdi.ReasonPodFailed, phase: vdi.PhaseFailed,
		message: "The desktop's pod ended: " + words + ". The home is kept, and a new desktop starts in a moment",
	}
}

// unscheduled makes the scheduler's words readable. A pod that waits, also for a
// node that is being added, is Pending and never Failed.
func unscheduled(pod *corev1.Pod, gpuResource string) *halt {
	c := podCondition(pod, corev1.PodScheduled)
	if !isUnschedulable(pod) {
		return &halt{
			condition: vdi.ConditionScheduled, reason: vdi.ReasonProgressing, phase: vdi.PhasePending,
			message: "The desktop is being placed on a node",
		}
	}
	h := &halt{condition: vdi.ConditionScheduled, reason: vdi.ReasonUnschedulable, phase: vdi.PhasePending}
	says := schedulerWords(c)
	switch {
	case gpuResource != "" && strings.Contains(c.Message, "Insufficient "+gpuResource):
		h.waiting = vdi.WaitingForGPU
		h.message = "Waiting for a GPU: all slices of " + gpuResource + " are in use; the desktop starts when another session ends. The scheduler says: " + says
	case waitsForVolume(pod):
		h.waiting = vdi.WaitingForVolume
		h.message = "Waiting for the home volume. The scheduler says: " + says
	default:
		h.waiting = vdi.WaitingForNode
		h.message = "Waiting for a node with room for the desktop. The scheduler says: " + says
	}
	return h
}

// isUnschedulable tells whether the scheduler has found no node for the pod.
func isUnschedulable(pod *corev1.Pod) bool {
	c := podCondition(pod, corev1.PodScheduled)
	return !podScheduled(pod) && c != nil && c.Status != corev1.ConditionTrue && c.Message != ""
}

// schedulerWords are why; whom it would not have pushed aside is no help. The end of what
// it says may stand there twice: of what it found, and of what preemption came to.
func schedulerWords(c *corev1.PodCondition) string {
	says, _, _ := strings.Cut(c.Message, " preemption:")
	if i := strings.LastIndex(says, ". "); i >= 0 && strings.HasSuffix(says[:i], says[i+len(". "):]) {
		return says[:i]
	}
	return says
}

// missesClaim reports whether a claim keeps a pod from all nodes that the scheduler does not
// know.
func missesClaim(pod *corev1.Pod) bool {
	return waitsForVolume(pod) && strings.Contains(podCondition(pod, corev1.PodScheduled).Message, "not found")
}

// waitsForVolume tells whether it is a volume that keeps a pod from all nodes.
func waitsForVolume(pod *corev1.Pod) bool {
	c := podCondition(pod, corev1.PodScheduled)
	return isUnschedulable(pod) && (strings.Contains(strings.ToLower(c.Message), "persistentvolumeclaim") || strings.Contains(c.Message, "volume"))
}

// containerWait says what keeps a placed pod from being ready.
func containerWait(pod *corev1.Pod, worked bool, why *halt) *halt {
	for _, status := range allContainers(pod) {
		if h := waitingContainer(pod, status, worked); h != nil {
			return h
		}
	}
	last, ended := lastExit(pod, worked)
	switch {
	case nodeSilent(pod):
		return progressing(vdi.ConditionDesktopReady, fmt.Sprintf("The node %s does not answer, so nobody knows how the desktop is; it goes on when the node is back", pod.Spec.NodeName))
	case containerRunning(pod) && ended:
		return progressing(vdi.ConditionDesktopReady, sentences("The desktop does not answer yet", last.words(pod), "It started anew"))
	case containerRunning(pod):
		return progressing(vdi.ConditionDesktopReady, "The desktop has started and does not answer yet")
	case ended:
		return progressing(vdi.ConditionDesktopReady, sentences(last.words(pod), "It starts anew"))
	case why != nil:
		return why
	}
	return progressing(vdi.ConditionDesktopReady, "The node is preparing the image and the home")
}

func allContainers(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

// waitingContainer is what an unhappy container waits for; nil for the plain steps of a
// start.
func waitingContainer(pod *corev1.Pod, c corev1.ContainerStatus, worked bool) *halt {
	w := c.State.Waiting
	if w == nil {
		return nil
	}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
		return &halt{
			condition: vdi.ConditionDesktopReady, reason: vdi.ReasonImagePull, phase: vdi.PhaseCreating,
			waiting: vdi.WaitingForImage, stalled: true,
			message: fmt.Sprintf("The image %s cannot be pulled: %s", c.Image, w.Message),
		}
	case "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return failingContainer(pod, c, worked)
	default:
		return nil
	}
}

// failingContainer is about a container that does not come to run, or does not go on
// running. Who leaves a desktop twice waits for the next like one that fails.
func failingContainer(pod *corev1.Pod, c corev1.ContainerStatus, worked bool) *halt {
	w, ended := c.State.Waiting, c.LastTerminationState.Terminated
	last := exit{c.Name, ended, worked}
	h := &halt{condition: vdi.ConditionDesktopReady, reason: vdi.ReasonCrashLoop, phase: vdi.PhaseFailed, stalled: true}
	switch {
	case ended == nil || w.Reason != "CrashLoopBackOff": // it has not run this time
		h.message = fmt.Sprintf("The container %s keeps failing (%s): %s", c.Name, w.Reason, w.Message)
	case last.wasLeft():
		return progressing(vdi.ConditionDesktopReady, sentences(last.words(pod), "It starts anew in a moment, each time a little later"))
	default:
		h.message = sentences(fmt.Sprintf("The container %s keeps failing (%s)", c.Name, w.Reason), last.words(pod), logHint(pod, c.Name))
	}
	return h
}

func containerRunning(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop && c.State.Running != nil {
			return true
		}
	}
	return false
}

// timingsOf reads when the steps of a start were reached.
func timingsOf(pod *corev1.Pod) *vdi.TimingsStatus {
	if pod == nil {
		return nil
	}
	t := &vdi.TimingsStatus{Queued: pod.CreationTimestamp.DeepCopy()}
	if c := podCondition(pod, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue {
		t.Scheduled = c.LastTransitionTime.DeepCopy()
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop {
			t.ImagePulled = startedAt(c)
		}
	}
	if podReady(pod) {
		t.Ready = podCondition(pod, corev1.PodReady).LastTransitionTime.DeepCopy()
	}
	return t
}

func startedAt(c corev1.ContainerStatus) *metav1.Time {
	if c.State.Running == nil || c.State.Running.StartedAt.IsZero() {
		return nil
	}
	return c.State.Running.StartedAt.DeepCopy()
}
