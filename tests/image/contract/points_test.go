package contract

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
)

// A scheduler that has not heard of a claim that was made just before the pod is no end.
func TestEndOf(t *testing.T) {
	for message, want := range map[string]string{
		`0/1 nodes are available: persistentvolumeclaim "vdi-data-check" not found. not found`: "",
		"0/1 nodes are available: 1 Insufficient memory.":                                      "the pod fits on no node: 0/1 nodes are available: 1 Insufficient memory.",
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		}}}}
		assert.Equal(t, want, endOf(pod))
	}
}
