package session

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// desktopContainer is the name of container 0.
const desktopContainer = "selkies"

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

// podWait says in words what a pod that is not ready waits for.
func podWait(pod *corev1.Pod, gpuResource string) *halt {
	switch {
	case podEnded(pod):
		return podFailed(pod)
	case !podScheduled(pod):
		return unscheduled(pod, gpuResource)
	default:
		return containerWait(pod)
	}
}

func progressing(condition, message string) *halt {
	return &halt{condition: condition, reason: vdi.ReasonProgressing, phase: vdi.PhaseCreating, message: message}
}

// podFailed tells why a pod ended by itself; clearFailed replaces it.
func podFailed(pod *corev1.Pod) *halt {
	words := pod.Status.Message
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
	if c == nil || c.Status == corev1.ConditionTrue || c.Message == "" {
		return &halt{
			condition: vdi.ConditionScheduled, reason: vdi.ReasonProgressing, phase: vdi.PhasePending,
			message: "The desktop is being placed on a node",
		}
	}
	h := &halt{condition: vdi.ConditionScheduled, reason: vdi.ReasonUnschedulable, phase: vdi.PhasePending}
	says, _, _ := strings.Cut(c.Message, " preemption:") // whom it would not have pushed aside is no help
	switch {
	case gpuResource != "" && strings.Contains(c.Message, "Insufficient "+gpuResource):
		h.waiting = vdi.WaitingForGPU
		h.message = "Waiting for a GPU: all slices of " + gpuResource + " are in use; the desktop starts when another session ends. The scheduler says: " + says
	case strings.Contains(c.Message, "PersistentVolumeClaim") || strings.Contains(c.Message, "volume"):
		h.waiting = vdi.WaitingForVolume
		h.message = "Waiting for the home volume. The scheduler says: " + says
	default:
		h.waiting = vdi.WaitingForNode
		h.message = "Waiting for a node with room for the desktop. The scheduler says: " + says
	}
	return h
}

// containerWait says what keeps a placed pod from being ready.
func containerWait(pod *corev1.Pod) *halt {
	for _, status := range allContainers(pod) {
		if status.State.Waiting == nil {
			continue
		}
		if h := waitingContainer(status); h != nil {
			return h
		}
	}
	if nodeSilent(pod) {
		return progressing(vdi.ConditionDesktopReady, fmt.Sprintf("The node %s does not answer, so nobody knows how the desktop is; it goes on when the node is back", pod.Spec.NodeName))
	}
	if containerRunning(pod) {
		return progressing(vdi.ConditionDesktopReady, "The desktop has started and does not answer yet")
	}
	return progressing(vdi.ConditionDesktopReady, "The node is preparing the image and the home")
}

func allContainers(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

func waitingContainer(c corev1.ContainerStatus) *halt {
	w := c.State.Waiting
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
		return &halt{
			condition: vdi.ConditionDesktopReady, reason: vdi.ReasonImagePull, phase: vdi.PhaseCreating,
			waiting: vdi.WaitingForImage, stalled: true,
			message: fmt.Sprintf("The image %s cannot be pulled: %s", c.Image, w.Message),
		}
	case "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return &halt{
			condition: vdi.ConditionDesktopReady, reason: vdi.ReasonCrashLoop, phase: vdi.PhaseFailed, stalled: true,
			message: fmt.Sprintf("The container %s keeps failing (%s)%s", c.Name, w.Reason, lastEnd(c)),
		}
	default:
		return nil
	}
}

// lastEnd tells how the container's last run ended.
func lastEnd(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		return ": " + c.State.Waiting.Message
	}
	words := fmt.Sprintf(": exit code %d, %s", t.ExitCode, t.Reason)
	if t.Reason == "OOMKilled" {
		words += "; it needed more than its memory limit (spec.resources.memory)"
	}
	if line := lastLine(t.Message); line != "" {
		words += "; its last words: " + line
	}
	return words
}

// lastLine is the last line of a container's log that says something.
func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func containerRunning(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == desktopContainer && c.State.Running != nil {
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
		if c.Name == desktopContainer {
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
