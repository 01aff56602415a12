package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/install"
)

// programs are the containers that answer strangers or grow with the cluster, and the
// ports of their figures.
var programs = map[string]string{"vdi-operator": "metrics", "vdi-frontdoor": "metrics", "agent": "agent-status"}

var heapLimit = regexp.MustCompile(`(?m)^go_gc_gomemlimit_bytes (\S+)$`)

// TestHeapsStayBelowTheContainer: the kernel ends a container that fills its memory, with
// garbage or not, and with an agent all streams of its desktop.
func TestHeapsStayBelowTheContainer(t *testing.T) {
	s := session("heap", "heap@example.com", "page")
	start(t, s)
	await(t, s, install.Running)
	seen := map[string]bool{}
	for _, namespace := range []string{install.Namespace, install.Sessions} {
		pods := &corev1.PodList{}
		require.NoError(t, platform.Client.List(t.Context(), pods, client.InNamespace(namespace)))
		for _, pod := range pods.Items {
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				if port, ours := programs[c.Name]; ours {
					seen[c.Name] = true
					assert.InDelta(t, 0.9*c.Resources.Limits.Memory().AsApproximateFloat64(), heapOf(t, &pod, c, port), 1, "%s in %s", c.Name, pod.Name)
				}
			}
		}
	}
	require.Len(t, seen, len(programs), "each of them runs")
}

// heapOf is the size in bytes that the collector keeps a program's heap below.
func heapOf(t *testing.T, pod *corev1.Pod, c corev1.Container, port string) float64 {
	t.Helper()
	number := int32(0)
	for _, p := range c.Ports {
		if p.Name == port {
			number = p.ContainerPort
		}
	}
	figures := kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/metrics", pod.Namespace, pod.Name, number))
	found := heapLimit.FindStringSubmatch(figures)
	require.NotNil(t, found, "%s serves go_gc_gomemlimit_bytes", c.Name)
	bytes, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return bytes
}
