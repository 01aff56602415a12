package desktop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Pool names those who can take each other's room, by a hash: who asks for the same kind of
// GPU on the same nodes, with the same class. A desktop without a GPU is in none: it takes
// nobody's. Of a pod that was made it is a guess, since the API server may have added to it.
func Pool(pod corev1.PodSpec, gpuResource string) string {
	limits := Limits(&corev1.Pod{Spec: pod})
	if name, count := GPUOf(limits, gpuResource); count == 0 || name == "" {
		return ""
	}
	var required corev1.NodeAffinity
	var near, apart []corev1.PodAffinityTerm
	if a := pod.Affinity; a != nil {
		required.RequiredDuringSchedulingIgnoredDuringExecution = ptr.Deref(a.NodeAffinity, required).RequiredDuringSchedulingIgnoredDuringExecution
		near = ptr.Deref(a.PodAffinity, corev1.PodAffinity{}).RequiredDuringSchedulingIgnoredDuringExecution
		apart = ptr.Deref(a.PodAntiAffinity, corev1.PodAntiAffinity{}).RequiredDuringSchedulingIgnoredDuringExecution
	}
	tolerations := slices.DeleteFunc(slices.Clone(pod.Tolerations), isGivenToAll)
	if len(tolerations) == 0 {
		tolerations = nil
	}
	text, _ := json.Marshal([]any{ // of such fields it never fails
		gpuResource, pod.NodeSelector, required, near, apart, pod.TopologySpreadConstraints, tolerations,
		pod.RuntimeClassName, pod.PriorityClassName, pod.SchedulerName,
	})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// isGivenToAll reports whether the API server gives every pod this toleration (its plugin
// DefaultTolerationSeconds).
func isGivenToAll(t corev1.Toleration) bool {
	return t.Effect == corev1.TaintEffectNoExecute && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
}

// Verdict is what the scheduler has said of a pod, and since when.
func Verdict(pod *corev1.Pod) (lacksRoom, asked bool, since time.Time) {
	c := Condition(pod, corev1.PodScheduled)
	switch {
	case Scheduled(pod):
		return false, false, since
	case c == nil || c.Message == "":
		return false, true, pod.CreationTimestamp.Time
	}
	full := strings.Contains(c.Message, "Insufficient ") || strings.Contains(c.Message, "Too many pods")
	return full, false, c.LastTransitionTime.Time
}
