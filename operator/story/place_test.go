package story

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

func TestAheadCountsOlderOnesOfTheSamePool(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	waiting := func(what vdi.WaitingFor, policy vdi.RunPolicy) *vdi.VDISession {
		return &vdi.VDISession{Spec: vdi.VDISessionSpec{RunPolicy: policy}, Status: vdi.VDISessionStatus{Phase: vdi.PhasePending, WaitingFor: what}}
	}
	at := func(uid string, minute int, gpu string) *vdi.VDISession {
		s := waiting(vdi.WaitingForGPU, vdi.RunPolicyRunning)
		s.UID, s.CreationTimestamp = types.UID(uid), metav1.NewTime(noon)
		s.Status.GPU = &vdi.GPUStatus{ResourceName: gpu, Count: 1}
		if minute > 0 {
			s.Status.Timings = &vdi.TimingsStatus{Queued: new(metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute)))}
		}
		return s
	}
	mine := at("m", 5, "nvidia.com/gpu")
	pool := []vdi.VDISession{*mine, *at("older", 1, "nvidia.com/gpu"), *at("created", 0, "nvidia.com/gpu"), *at("a", 5, "nvidia.com/gpu"), *at("z", 5, "nvidia.com/gpu"), *at("younger", 9, "nvidia.com/gpu")}
	assert.Len(t, Ahead(mine, pool), 3, "the same moment counts by UID")
	assert.Equal(t, PoolOf(mine), PoolOf(&pool[1]))
	assert.NotEqual(t, PoolOf(mine), PoolOf(at("x", 1, "nvidia.com/gpu.shared")))
	assert.Empty(t, PoolOf(waiting(vdi.WaitingForGPU, vdi.RunPolicySuspended)))
	assert.Empty(t, PoolOf(waiting(vdi.WaitingForImage, vdi.RunPolicyRunning)))
	stalled := func(what vdi.WaitingFor) *vdi.VDISession {
		s := waiting(what, vdi.RunPolicyRunning)
		s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionStalled, Status: metav1.ConditionTrue}}
		return s
	}
	assert.Empty(t, PoolOf(stalled(vdi.WaitingForGPU)), "it does not go on by itself")
	assert.NotEmpty(t, PoolOf(stalled(vdi.WaitingForQuota)), "a quota is given back by others")
}
