package session

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// leaving tells why a pod goes that is wanted. Running says that a run had begun
// and nobody stopped it: then the operator was not the one who deleted the pod.
func leaving(pod *corev1.Pod, running bool) *halt {
	c := podCondition(pod, corev1.DisruptionTarget)
	switch {
	case c != nil && c.Status == corev1.ConditionTrue:
		return goes(vdi.ReasonEvicted, evictionWords(pod, c))
	case running && !podEnded(pod):
		return goes(vdi.ReasonPodDeleted, "The desktop's pod was deleted; a new one starts with the same home when it is gone")
	default:
		return goes(vdi.ReasonProgressing, "The former desktop is shutting down; a new one starts when it is gone")
	}
}

func goes(reason, message string) *halt {
	return &halt{condition: vdi.ConditionDesktopReady, reason: reason, phase: vdi.PhaseCreating, message: message}
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
	return "The desktop has to leave its node (" + why + "); it starts again on another one with the same home"
}

// evictionEvents warn, once, that a desktop has to go that people may work on.
func evictionEvents(before, after vdi.VDISessionStatus) []happening {
	was, is := meta.FindStatusCondition(before.Conditions, vdi.ConditionDesktopReady), meta.FindStatusCondition(after.Conditions, vdi.ConditionDesktopReady)
	if is == nil || !slices.Contains([]string{vdi.ReasonEvicted, vdi.ReasonPodDeleted}, is.Reason) || (was != nil && was.Reason == is.Reason) {
		return nil
	}
	return []happening{{corev1.EventTypeWarning, is.Reason, "Restart", is.Message}}
}
