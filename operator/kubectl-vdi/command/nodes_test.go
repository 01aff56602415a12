package command

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

const (
	allNodes      = "/api/v1/nodes"
	allConfigMaps = "/api/v1/configmaps"
	aGPU          = platform.DefaultGPUResource
)

// nodeOf is a ready node with a product, cards and slices; "" leaves a label out.
func nodeOf(name, product, cards, slices string, change ...func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for label, value := range map[string]string{"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": cards} {
		if value != "" {
			n.Labels[label] = value
		}
	}
	if slices != "" {
		n.Status.Allocatable = corev1.ResourceList{aGPU: resource.MustParse(slices), corev1.ResourceCPU: resource.MustParse("8")}
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, edit := range change {
		edit(&n)
	}
	return n
}

func silent(n *corev1.Node) {
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Message: "Kubelet stopped posting node status."}}
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

// onNode is a desktop's pod with slices.
func onNode(name, node, slices string) corev1.Pod {
	pod := podOf(name, node, "1", "1Gi")
	pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{aGPU: resource.MustParse(slices), corev1.ResourceCPU: resource.MustParse("1")}
	return pod
}

// shared is a cluster with GPUs as they should be and as they should not.
func shared() lists {
	over := onNode("over", "good", "1")
	over.Status.Phase = corev1.PodSucceeded
	four := map[string]int64{aGPU: 4}
	status := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: plan.StatusName, Namespace: "vdi-system"}, Data: plan.Report{Nodes: map[string]plan.NodeReport{
		"good":  {Config: "any", Planned: four, Allocatable: four, State: plan.AsPlanned, Message: "as planned"},
		"fewer": {Config: "any", Planned: four, Allocatable: map[string]int64{aGPU: 1}, State: plan.Mismatch},
		"wrong": {Config: "odd", Allocatable: map[string]int64{aGPU: 1}, State: plan.WrongConfig, Message: "Node wrong has no plan: its label is odd"},
	}}.Data()}
	return lists{
		allNodes: []corev1.Node{
			nodeOf("good", "NVIDIA-L4", "1", "4"), nodeOf("fewer", "NVIDIA-A100-SXM4-80GB", "1", "1", cordoned), nodeOf("wrong", "", "", "1", func(n *corev1.Node) { n.Labels["nvidia.com/gpu.present"] = "true" }),
			nodeOf("dark", "NVIDIA-L4", "2", "2", silent), nodeOf("empty", "NVIDIA-L4", "1", "0"), nodeOf("other", "", "", ""),
			nodeOf("amd", "", "", "", func(n *corev1.Node) {
				n.Status.Allocatable = corev1.ResourceList{"amd.com/gpu": resource.MustParse("2")}
			}),
			nodeOf("storage", "", "", "", func(n *corev1.Node) {
				n.Status.Allocatable = corev1.ResourceList{"example.com/disk": resource.MustParse("2")}
			}),
		},
		allConfigMaps: []corev1.ConfigMap{status},
		allSessions: []vdi.VDISession{*session(func(s *vdi.VDISession) {
			s.Status.GPU = &vdi.GPUStatus{ResourceName: "amd.com/gpu", Count: 1}
		})},
		allPods: []corev1.Pod{onNode("a", "good", "1"), onNode("b", "good", "2"), onNode("c", "fewer", "2"), over, podOf("cpu", "good", "1", "1Gi")},
	}
}

// Each node with GPUs: what is planned, offered and in use, and what is wrong.
func TestNodes(t *testing.T) {
	printed, complaint, err := shared().say(t, "nodes")
	require.NoError(t, err)
	assert.Empty(t, complaint)
	assert.Equal(t, `NAME    STATUS                     CARDS   PLANNED   ALLOCATABLE   IN USE   FREE   SHARING   ENCODER   PROBLEM
amd     Ready                      -       -         2             0        2      -         Unknown   -
dark    NotReady                   2       -         2             0        2      -         NVENC     It is not ready: Kubelet stopped posting node status.
empty   Ready                      1       -         0             0        0      -         NVENC     It offers no GPU: look at the device plugin's pod on it
fewer   Ready,SchedulingDisabled   1       4         1             2        0      any       None      Node fewer offers nvidia.com/gpu=1, but nvidia.com/gpu=4 is planned: look at the device plugin's pod on it
good    Ready                      1       4         4             3        1      any       NVENC     -
wrong   Ready                      -       -         1             0        1      odd       Unknown   Node wrong has no plan: its label is odd
`, printed)
	printed, _, err = shared().say(t, "nodes", "-o", "name", "-n", "desktops")
	require.NoError(t, err)
	assert.Equal(t, "node/amd\nnode/dark\nnode/empty\nnode/fewer\nnode/good\nnode/wrong\n", printed, "nodes belong to no namespace")
	printed, _, err = shared().say(t, "nodes", "-o", "json")
	require.NoError(t, err)
	assert.Contains(t, printed, `"planned": 4,
      "allocatable": 1,
      "inUse": 2,
      "free": 0,
      "encoder": "None",
      "ready": true,
      "cordoned": true,`)
}

// What may not be read is named, and counts as nothing.
func TestNodesWithLess(t *testing.T) {
	few := shared()
	few[allPods], few[allConfigMaps] = forbidden("", "pods"), forbidden("", "configmaps")
	few[allSessions] = []vdi.VDISession{}
	printed, complaint, err := few.say(t, "nodes")
	require.NoError(t, err)
	assert.Contains(t, printed, "NAME    STATUS                     CARDS   PLANNED   ALLOCATABLE   SHARING   ENCODER   PROBLEM\n")
	assert.NotContains(t, printed, "amd", "nobody is known to ask for its GPUs")
	assert.Equal(t, "Not read: slices that are planned: you lack the role vdi-admin in the whole cluster\n"+
		"Not read: slices in use: you lack the role vdi-admin in the whole cluster\n", complaint)

	few[allNodes] = forbidden("", "nodes")
	_, _, err = few.say(t, "nodes")
	assert.Contains(t, explain(err), "What is missing is the role vdi-admin in the whole cluster")

	few[allNodes] = []corev1.Node{nodeOf("other", "", "", "")}
	_, complaint, err = few.say(t, "nodes")
	require.NoError(t, err)
	assert.Contains(t, complaint, "No nodes with GPUs found.\n")
}
