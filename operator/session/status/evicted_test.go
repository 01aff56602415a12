package status

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/fixture"
)

func TestLeaving(t *testing.T) {
	notAny := func(p *corev1.Pod) {
		fixture.Disrupted("EvictionByEvictionAPI")(p)
		p.Status.Conditions[0].Status = corev1.ConditionFalse
	}
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		running bool
		reason  string
		words   string
	}{
		"drained":                  {fixture.Pod(fixture.Placed, fixture.Going, fixture.Disrupted("EvictionByEvictionAPI")), true, vdi.ReasonEvicted, "the node node is being drained"},
		"drained before it ran":    {fixture.Pod(fixture.Placed, fixture.Going, fixture.Disrupted("EvictionByEvictionAPI")), false, vdi.ReasonEvicted, "the node node is being drained"},
		"displaced":                {fixture.Pod(fixture.Placed, fixture.Going, fixture.Disrupted("PreemptionByScheduler")), true, vdi.ReasonEvicted, "a pod of higher priority needs the room"},
		"node lost":                {fixture.Pod(fixture.Placed, fixture.Going, fixture.Disrupted("DeletionByTaintManager")), true, vdi.ReasonEvicted, "The node node does not answer"},
		"for another reason":       {fixture.Pod(fixture.Placed, fixture.Going, fixture.Disrupted("DeletionByPodGC")), true, vdi.ReasonEvicted, "its words"},
		"no longer":                {fixture.Pod(fixture.Placed, fixture.Going, notAny), true, vdi.ReasonPodDeleted, "The desktop's pod was deleted"},
		"deleted by somebody":      {fixture.Pod(fixture.Placed, fixture.Going), true, vdi.ReasonPodDeleted, "The desktop's pod was deleted"},
		"stopped by us, on resume": {fixture.Pod(fixture.Placed, fixture.Going), false, vdi.ReasonProgressing, "The former desktop is shutting down"},
		"ended, and cleared away":  {fixture.Pod(fixture.Placed, fixture.Going, fixture.Failed("Evicted", "")), true, vdi.ReasonProgressing, "The former desktop is shutting down"},
	} {
		t.Run(name, func(t *testing.T) {
			h := desktop.WhyLeaving(c.pod, c.running)
			require.Equal(t, c.reason, h.Reason)
			require.Contains(t, h.Message, c.words)
			require.Equal(t, vdi.PhaseCreating, h.Phase)
		})
	}
}

func TestEvictionEvents(t *testing.T) {
	with := func(reason string) vdi.VDISessionStatus {
		return vdi.VDISessionStatus{Conditions: []metav1.Condition{{Type: vdi.ConditionDesktopReady, Reason: reason, Message: "words"}}}
	}
	told := []Event{{corev1.EventTypeWarning, vdi.ReasonEvicted, "Restart", "words"}}
	require.Equal(t, told, evictionEvents(with(vdi.ReasonAsExpected), with(vdi.ReasonEvicted)))
	require.Equal(t, told, evictionEvents(vdi.VDISessionStatus{}, with(vdi.ReasonEvicted)))
	require.Empty(t, evictionEvents(with(vdi.ReasonEvicted), with(vdi.ReasonEvicted)), "told once")
	require.Empty(t, evictionEvents(with(vdi.ReasonEvicted), with(vdi.ReasonProgressing)))
	require.Len(t, evictionEvents(with(vdi.ReasonPodDeleted), with(vdi.ReasonEvicted)), 1)
}
