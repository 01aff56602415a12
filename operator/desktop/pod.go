// Package desktop reads from a pod how its desktop is: whether it is ready, what it waits
// for, how it ended, what it was started with. Everything here is pure.
//
// It must not know what a session wishes: that is for package plan to decide.
package desktop

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Condition is a condition of a pod; nil when it has none of that kind, or there is no pod.
func Condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
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

// Ready reports whether the desktop answers.
func Ready(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil && !Ended(pod)
}

// Scheduled reports whether the pod has a node.
func Scheduled(pod *corev1.Pod) bool {
	return pod != nil && pod.Spec.NodeName != ""
}

// Unschedulable reports whether the scheduler has found no node for the pod.
func Unschedulable(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.PodScheduled)
	return !Scheduled(pod) && c != nil && c.Status != corev1.ConditionTrue && c.Message != ""
}

// MissesClaim reports whether a claim keeps a pod from all nodes that the scheduler does not
// know.
func MissesClaim(pod *corev1.Pod) bool {
	return WaitsForVolume(pod) && strings.Contains(Condition(pod, corev1.PodScheduled).Message, "not found")
}

// WaitsForVolume reports whether it is a volume that keeps a pod from all nodes.
func WaitsForVolume(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.PodScheduled)
	return Unschedulable(pod) && (strings.Contains(strings.ToLower(c.Message), "persistentvolumeclaim") || strings.Contains(c.Message, "volume"))
}

// Containers are the states of all containers of a pod, in the order in which they start.
func Containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

// Running reports whether the desktop's container runs.
func Running(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop && c.State.Running != nil {
			return true
		}
	}
	return false
}

// Timings reads when the steps of a start were reached.
func Timings(pod *corev1.Pod) *vdi.TimingsStatus {
	if pod == nil {
		return nil
	}
	t := &vdi.TimingsStatus{Queued: pod.CreationTimestamp.DeepCopy()}
	if c := Condition(pod, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue {
		t.Scheduled = c.LastTransitionTime.DeepCopy()
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop {
			t.ImagePulled = startedAt(c)
		}
	}
	if Ready(pod) {
		t.Ready = Condition(pod, corev1.PodReady).LastTransitionTime.DeepCopy()
	}
	return t
}

// SinceStart are the timings of a desktop of which some may be known already: its image was
// pulled when its container first started, and a restart moves only the rest.
func SinceStart(before, now *vdi.TimingsStatus) *vdi.TimingsStatus {
	if before == nil || now == nil || before.ImagePulled == nil || !before.Queued.Equal(now.Queued) {
		return now
	}
	now.ImagePulled = before.ImagePulled
	return now
}

func startedAt(c corev1.ContainerStatus) *metav1.Time {
	if c.State.Running == nil || c.State.Running.StartedAt.IsZero() {
		return nil
	}
	return c.State.Running.StartedAt.DeepCopy()
}

// News is the part of a pod that can change what we do or say.
func News(p *corev1.Pod) []any {
	news := []any{p.DeletionTimestamp != nil, p.Spec.NodeName, p.Status.Phase, p.Status.Reason, Running(p)}
	for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.PodScheduled, corev1.DisruptionTarget} {
		if c := Condition(p, kind); c != nil {
			news = append(news, c.Status, c.Message)
		}
	}
	for _, c := range Containers(p) {
		if w := WaitingContainer(p, c, false); w != nil { // the plain steps of a start are no news
			news = append(news, c.Name, w.Reason, w.Message)
		}
	}
	if last, found := LastExit(p, false); found { // also one that was over before anybody saw it
		news = append(news, last.Container, *last.Ended)
	}
	return news
}

// Complains reports whether a container of the pod says itself what it waits for.
func Complains(pod *corev1.Pod) bool {
	return slices.ContainsFunc(Containers(pod), func(c corev1.ContainerStatus) bool { return WaitingContainer(pod, c, false) != nil })
}

// HasStarted reports whether the desktop's container has run in this pod.
func HasStarted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == wire.ContainerDesktop {
			return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
		}
	}
	return false
}

// Crashes reports whether a container of the pod fails again and again.
func Crashes(pod *corev1.Pod, worked bool) bool {
	for _, c := range Containers(pod) {
		if h := WaitingContainer(pod, c, worked); h != nil && h.Reason == vdi.ReasonCrashLoop {
			return true
		}
	}
	return false
}

// NodeSilent reports whether the pod is not ready only because nobody hears of its
// node: the node lifecycle controller then changes the condition Ready alone
// (MarkPodsNotReady in kubernetes' pkg/controller/util/node).
func NodeSilent(pod *corev1.Pod) bool {
	ready, containers := Condition(pod, corev1.PodReady), Condition(pod, corev1.ContainersReady)
	return ready != nil && ready.Status != corev1.ConditionTrue && containers != nil && containers.Status == corev1.ConditionTrue &&
		len(pod.Spec.ReadinessGates) == 0
}

// Age is how long ago an object was made.
func Age(o *corev1.Pod, now time.Time) time.Duration { return now.Sub(o.CreationTimestamp.Time) }

// Ended reports whether the pod has come to an end by itself.
func Ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}
