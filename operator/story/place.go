package story

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// IsStuck reports whether a start does not go on by itself: it waits behind nobody. What
// exceeds a ResourceQuota is given back by others.
func IsStuck(s *vdi.VDISession) bool {
	byOthers := s.Status.WaitingFor == vdi.WaitingForQuota && !meta.IsStatusConditionFalse(s.Status.Conditions, vdi.ConditionAccepted)
	return !byOthers && meta.IsStatusConditionTrue(s.Status.Conditions, vdi.ConditionStalled)
}

// PoolOf names what a session waits for, so that sessions with the same name
// wait for each other; "" when it waits for nothing that others hold. Which
// nodes a template may use is not in the status: sessions that wait for a node
// are counted by template, those that wait for a GPU by the kind of GPU.
func PoolOf(s *vdi.VDISession) string {
	if s.DeletionTimestamp != nil || s.Spec.RunPolicy == vdi.RunPolicySuspended || IsStuck(s) {
		return ""
	}
	switch s.Status.WaitingFor {
	case vdi.WaitingForGPU:
		if s.Status.GPU != nil {
			return "GPU/" + s.Status.GPU.ResourceName
		}
		return "GPU/"
	case vdi.WaitingForNode:
		return "Node/" + s.Spec.Template
	case vdi.WaitingForQuota:
		if s.Status.Queue != nil || meta.IsStatusConditionFalse(s.Status.Conditions, vdi.ConditionAccepted) {
			return "" // a VDIQuota's: it says itself
		}
		return "Quota/" + s.Namespace
	}
	return ""
}

// Ahead are the sessions of a pool that have waited longer than one of them.
func Ahead(s *vdi.VDISession, pool []vdi.VDISession) (ahead []*vdi.VDISession) {
	for i := range pool {
		if pool[i].UID != s.UID && isOlder(&pool[i], s) {
			ahead = append(ahead, &pool[i])
		}
	}
	return ahead
}

func isOlder(a, b *vdi.VDISession) bool {
	if x, y := QueuedAt(a), QueuedAt(b); !x.Equal(y) {
		return x.Before(y)
	}
	return a.UID < b.UID
}

// QueuedAt is when a session without a place in the queue began to wait: when the pod of this
// run was made, else when the session was.
func QueuedAt(s *vdi.VDISession) time.Time {
	if t := s.Status.Timings; t != nil && t.Queued != nil {
		return t.Queued.Time
	}
	return s.CreationTimestamp.Time
}
