package session

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func disrupted(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: "its words",
		})
	}
}

func TestLeaving(t *testing.T) {
	notAny := func(p *corev1.Pod) {
		disrupted("EvictionByEvictionAPI")(p)
		p.Status.Conditions[0].Status = corev1.ConditionFalse
	}
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		running bool
		reason  string
		words   string
	}{
		"drained":                  {aPod(placed, going, disrupted("EvictionByEvictionAPI")), true, vdi.ReasonEvicted, "the node node is being drained"},
		"drained before it ran":    {aPod(placed, going, disrupted("EvictionByEvictionAPI")), false, vdi.ReasonEvicted, "the node node is being drained"},
		"displaced":                {aPod(placed, going, disrupted("PreemptionByScheduler")), true, vdi.ReasonEvicted, "a pod of higher priority needs the room"},
		"node lost":                {aPod(placed, going, disrupted("DeletionByTaintManager")), true, vdi.ReasonEvicted, "The node node does not answer"},
		"for another reason":       {aPod(placed, going, disrupted("DeletionByPodGC")), true, vdi.ReasonEvicted, "its words"},
		"no longer":                {aPod(placed, going, notAny), true, vdi.ReasonPodDeleted, "The desktop's pod was deleted"},
		"deleted by somebody":      {aPod(placed, going), true, vdi.ReasonPodDeleted, "The desktop's pod was deleted"},
		"stopped by us, on resume": {aPod(placed, going), false, vdi.ReasonProgressing, "The former desktop is shutting down"},
		"ended, and cleared away":  {aPod(placed, going, failed("Evicted", "")), true, vdi.ReasonProgressing, "The former desktop is shutting down"},
	} {
		t.Run(name, func(t *testing.T) {
			h := leaving(c.pod, c.running)
			require.Equal(t, c.reason, h.reason)
			require.Contains(t, h.message, c.words)
			require.Equal(t, vdi.PhaseCreating, h.phase)
		})
	}
}

func TestEvictionEvents(t *testing.T) {
	with := func(reason string) vdi.VDISessionStatus {
		return vdi.VDISessionStatus{Conditions: []metav1.Condition{{Type: vdi.ConditionDesktopReady, Reason: reason, Message: "words"}}}
	}
	told := []happening{{corev1.EventTypeWarning, vdi.ReasonEvicted, "Restart", "words"}}
	require.Equal(t, told, evictionEvents(with(vdi.ReasonAsExpected), with(vdi.ReasonEvicted)))
	require.Equal(t, told, evictionEvents(vdi.VDISessionStatus{}, with(vdi.ReasonEvicted)))
	require.Empty(t, evictionEvents(with(vdi.ReasonEvicted), with(vdi.ReasonEvicted)), "told once")
	require.Empty(t, evictionEvents(with(vdi.ReasonEvicted), with(vdi.ReasonProgressing)))
	require.Len(t, evictionEvents(with(vdi.ReasonPodDeleted), with(vdi.ReasonEvicted)), 1)
}
