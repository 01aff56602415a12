package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

const (
	sharingConfig = "time-slicing-config"
	sharingStatus = "vdi-gpu-sharing-status"
	gpuResource   = corev1.ResourceName("nvidia.com/gpu")
)

// withGPUOperator switches on what values/local.yaml leaves out: the GPU
// Operator, whose stand-in restarts the local cluster's device plugin the way
// the real one's is restarted. Most tests here know a desktop by its password.
func withGPUOperator() []string {
	return []string{"--set", "gpu-operator.enabled=true", "--set", "vdi-operator.gpuSharing.enabled=true", "--set", "vdi-operator.access.mode=Password,vdi-operator.portal.namespace="}
}

// The number of slices is one value: helm upgrade changes what the node really
// offers, and the desktops go on.
func TestSlicesChangeUnderLiveDesktops(t *testing.T) {
	awaitSlices(t, slices)
	live := []*vdi.VDISession{scratch("stays-1", "stays1@example.com", "page"), scratch("stays-2", "stays2@example.com", "page")}
	for _, s := range live {
		start(t, s)
	}
	before := map[string]desktop{}
	for _, s := range live {
		await(t, s, install.Running)
		before[s.Name] = desktopOf(t, s)
	}
	t.Cleanup(func() { upgrade(t, context.Background(), slices) })

	began := time.Now()
	upgrade(t, t.Context(), 4)
	awaitSlices(t, 4)
	t.Logf("8 → 4 slices took %.1fs from the helm command", time.Since(began).Seconds())
	assert.Equal(t, "4", figure(t, "planned"))
	assert.Equal(t, "4", figure(t, "allocatable"))
	awaitEvent(t, "GPUSlicesAsPlanned", "offers nvidia.com/gpu=4 as planned")
	for _, s := range live {
		assert.Equal(t, before[s.Name], desktopOf(t, s), "%s is the same desktop", s.Name)
	}

	two, count := scratch("greedy", "greedy@example.com", "page"), int32(2)
	two.Spec.Resources.GPU = &count
	start(t, two)
	refused := await(t, two, func(s *vdi.VDISession) bool { return s.Status.Phase == vdi.PhaseFailed })
	assert.Contains(t, refused.Status.Message, "two are not twice a GPU")
}

// A configuration that the device plugin cannot read is told, and never reaches it.
func TestWrongSlicesAreTold(t *testing.T) {
	awaitSlices(t, slices)
	correct := misconfigure(t)
	awaitStatus(t, "config", "state: WrongConfig", "nvidia.com/gpu has 0 replicas, which the device plugin", "goes on with the configuration it was started with")
	awaitEvent(t, "GPUSharingWrong", "has 0 replicas")
	assert.EqualValues(t, slices, allocatable(t), "the node keeps its slices")
	t.Log(told(t)["config"])

	correct()
	awaitStatus(t, "config", "state: AsPlanned")
	awaitSlices(t, slices)
}

// misconfigure writes what the device plugin cannot read, until the test is over or
// it is corrected.
func misconfigure(t *testing.T) (correct func()) {
	t.Helper()
	config := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: install.Namespace, Name: sharingConfig}
	require.NoError(t, platform.Client.Get(t.Context(), key, config))
	good := config.Data["any"]
	write := func(text string) {
		before := config.DeepCopy()
		config.Data["any"] = text
		require.NoError(t, platform.Client.Patch(context.Background(), config, client.MergeFrom(before)))
	}
	t.Cleanup(func() { write(good) })
	write(strings.Replace(good, "replicas: 8", "replicas: 0", 1))
	awaitStatus(t, "config", "state: WrongConfig")
	return func() { write(good) }
}

// upgrade runs helm with another number of slices.
func upgrade(t *testing.T, ctx context.Context, replicas int) {
	t.Helper()
	values := filepath.Join(t.TempDir(), "slices.yaml")
	require.NoError(t, os.WriteFile(values, fmt.Appendf(nil, `gpu-operator:
  devicePlugin:
    config:
      data:
        any: |-
          version: v1
          sharing:
            timeSlicing:
              resources:
                - name: nvidia.com/gpu
                  replicas: %d
`, replicas), 0o600))
	require.NoError(t, platform.Release(ctx, append(withGPUOperator(), "--values", values)...))
}

// desktop is what must not change while slices do.
type desktop struct {
	uid      types.UID
	restarts int32
	ready    bool
}

func desktopOf(t *testing.T, s *vdi.VDISession) desktop {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKeyFromObject(s), pod))
	status := pod.Status.ContainerStatuses[0]
	return desktop{pod.UID, status.RestartCount, status.Ready}
}

func allocatable(t *testing.T) int64 {
	t.Helper()
	node := &corev1.Node{}
	require.NoError(t, platform.Client.Get(t.Context(), client.ObjectKey{Name: platform.Cluster.NodeName()}, node))
	amount := node.Status.Allocatable[gpuResource]
	return amount.Value()
}

// awaitSlices waits until the node offers them, and the operator says so.
func awaitSlices(t *testing.T, want int64) {
	t.Helper()
	require.Eventually(t, func() bool { return allocatable(t) == want }, patience, time.Second, "the node offers %d slices", want)
	awaitStatus(t, "node."+platform.Cluster.NodeName(), "state: AsPlanned", fmt.Sprintf("nvidia.com/gpu: %d", want))
}

func awaitStatus(t *testing.T, key string, words ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		text := strings.Join(strings.Fields(told(t)[key]), " ")
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	}, patience, time.Second, "%s tells %q", sharingStatus, words)
}

func told(t *testing.T) map[string]string {
	t.Helper()
	status := &corev1.ConfigMap{}
	err := platform.Client.Get(t.Context(), client.ObjectKey{Namespace: install.Namespace, Name: sharingStatus}, status)
	require.NoError(t, client.IgnoreNotFound(err))
	return status.Data
}

func awaitEvent(t *testing.T, reason, words string) {
	t.Helper()
	require.Eventually(t, func() bool {
		list := &eventsv1.EventList{}
		require.NoError(t, platform.Client.List(t.Context(), list, client.InNamespace(install.Namespace)))
		for _, e := range list.Items {
			if e.Reason == reason && e.Regarding.Name == sharingStatus && strings.Contains(e.Note, words) {
				return true
			}
		}
		return false
	}, patience, time.Second, "an event %s tells %q", reason, words)
}

// figure is the node's vdi_gpu_slices in a state.
func figure(t *testing.T, state string) string {
	t.Helper()
	figures := kubectl(t, "get", "--raw", "/api/v1/namespaces/"+install.Namespace+"/services/vdi-operator:metrics/proxy/metrics")
	series := fmt.Sprintf(`vdi_gpu_slices{node=%q,resource="nvidia.com/gpu",state=%q} `, platform.Cluster.NodeName(), state)
	for line := range strings.Lines(figures) {
		if value, found := strings.CutPrefix(line, series); found {
			return strings.TrimSpace(value)
		}
	}
	return "none"
}
