package story

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// around is what nodes, quotas and the claim show of what is awaited.
func around(f Facts) []Finding {
	s := f.Session
	if isUnobserved(s) || s.DeletionTimestamp != nil {
		return nil
	}
	var texts []string
	switch s.Status.WaitingFor {
	case vdi.WaitingForGPU:
		texts = append(texts, gpuWords(f))
	case vdi.WaitingForNode:
		texts = append(texts, nodeWords(f))
	case vdi.WaitingForQuota:
		texts = append(texts, quotaWords(f)...)
	case vdi.WaitingForVolume:
		texts = append(texts, claimWords(f))
	}
	if node := silentNode(f); node != "" {
		texts = append(texts, "The desktop's node "+node+" is not ready")
	}
	var out []Finding
	for _, text := range texts {
		if text != "" {
			out = append(out, Finding{Topic: TopicWaits, Text: text})
		}
	}
	return out
}

// gpuWords say how many slices the nodes offer.
func gpuWords(f Facts) string {
	g := f.Session.Status.GPU
	if g == nil || len(f.Nodes) == 0 {
		return ""
	}
	var count, nodes int64
	var away []string
	for _, n := range f.Nodes {
		offered := n.Status.Allocatable[corev1.ResourceName(g.ResourceName)]
		if offered.IsZero() {
			continue
		}
		nodes++
		count += offered.Value()
		if state := unusable(n); state != "" {
			away = append(away, n.Name+" ("+state+")")
		}
	}
	text := fmt.Sprintf("%d of %d nodes offer %s, %d slices together", nodes, len(f.Nodes), g.ResourceName, count)
	if len(away) > 0 {
		text += "; not usable now: " + strings.Join(away, ", ")
	}
	return text
}

// offersGPU reports whether a node has the GPUs that a session asks for, where it asks for
// any.
func offersGPU(f Facts, n corev1.Node) bool {
	g := f.Session.Status.GPU
	if g == nil || g.Count == 0 {
		return true
	}
	offered := n.Status.Allocatable[corev1.ResourceName(g.ResourceName)]
	return offered.Value() >= int64(g.Count)
}

// nodeWords name the nodes that take no desktops now.
func nodeWords(f Facts) string {
	var away []string
	for _, n := range f.Nodes {
		if state := unusable(n); state != "" {
			away = append(away, n.Name+" ("+state+")")
		}
	}
	if len(away) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d nodes are not usable now: %s", len(away), len(f.Nodes), strings.Join(away, ", "))
}

// unusable is why a node takes no pods; "" where it does.
func unusable(n corev1.Node) string {
	switch {
	case n.Spec.Unschedulable:
		return "cordoned"
	case !isNodeReady(n):
		return "not ready"
	}
	return ""
}

func isNodeReady(n corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// silentNode is the desktop's own node where that does not answer; "" where it does, or
// where nobody knows.
func silentNode(f Facts) string {
	if f.Pod == nil || f.Pod.Spec.NodeName == "" {
		return ""
	}
	for _, n := range f.Nodes {
		if n.Name == f.Pod.Spec.NodeName && !isNodeReady(n) {
			return n.Name
		}
	}
	return ""
}

// quotaWords name each quota that is used up.
func quotaWords(f Facts) (out []string) {
	for _, q := range f.Quotas {
		for _, name := range full(q) {
			used, hard := q.Status.Used[name], q.Status.Hard[name]
			out = append(out, fmt.Sprintf("ResourceQuota %s: %s of %s %s in use", q.Name, used.String(), hard.String(), name))
		}
	}
	return out
}

// full are the resources of a quota that are used up.
func full(q corev1.ResourceQuota) (names []corev1.ResourceName) {
	for name, hard := range q.Status.Hard {
		used := q.Status.Used[name]
		if used.Cmp(hard) >= 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// claimWords say how the home's claim is.
func claimWords(f Facts) string {
	c := f.Claim
	if c == nil || c.Status.Phase == corev1.ClaimBound {
		return ""
	}
	class := "of the cluster's default storage class"
	if c.Spec.StorageClassName != nil && *c.Spec.StorageClassName != "" {
		class = "of storage class " + *c.Spec.StorageClassName
	}
	return fmt.Sprintf("The claim %s %s is %s", c.Name, class, c.Status.Phase)
}
