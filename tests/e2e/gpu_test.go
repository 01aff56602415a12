package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// slices is what the local cluster's one GPU is cut into.
const slices = 8

// The ninth desktop on a GPU with eight slices waits in words, and starts when
// another one is suspended; that one waits in turn, and resumes when one ends.
func TestNinthSessionWaitsForTheGPU(t *testing.T) {
	var running []*vdi.VDISession
	for i := range slices {
		s := scratch(fmt.Sprintf("artist-%d", i), fmt.Sprintf("artist%d@example.com", i), "page")
		start(t, s)
		running = append(running, s)
	}
	for _, s := range running {
		await(t, s, install.Running)
	}
	ninth := scratch("ninth", "ninth@example.com", "page")
	start(t, ninth)
	waiting := await(t, ninth, func(s *vdi.VDISession) bool { return s.Status.WaitingFor == vdi.WaitingForGPU })
	assert.Equal(t, vdi.PhasePending, waiting.Status.Phase)
	assert.Contains(t, waiting.Status.Message, "Waiting for a GPU: all slices of nvidia.com/gpu are in use")
	t.Log(waiting.Status.Message)

	setRunPolicy(t, running[0], vdi.RunPolicySuspended)
	await(t, ninth, install.Running)
	await(t, running[0], suspended)

	setRunPolicy(t, running[0], vdi.RunPolicyRunning)
	await(t, running[0], func(s *vdi.VDISession) bool { return s.Status.WaitingFor == vdi.WaitingForGPU })
	finish(t, ninth)
	await(t, running[0], install.Running)
}

// A desktop without a GPU asks for none and starts though all slices are taken.
func TestSoftwareDesktopNeedsNoGPU(t *testing.T) {
	s, none := scratch("software", "software@example.com", "page"), int32(0)
	s.Spec.Resources.GPU = &none
	start(t, s)
	await(t, s, install.Running)
	pod := &corev1.Pod{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKeyFromObject(s), pod))
	assert.NotContains(t, pod.Spec.Containers[0].Resources.Limits, corev1.ResourceName("nvidia.com/gpu"))
}
