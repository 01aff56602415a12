package command

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// holds is a session whose desktop has a node.
func holds(name, user, template string, gpus int32) vdi.VDISession {
	return *session(func(s *vdi.VDISession) {
		s.Name, s.Spec.User, s.Spec.Template, s.Status.PodName = name, user, template, name
		s.Status.Run = &vdi.RunStatus{PodUID: types.UID("pod-" + name), Begin: metav1.NewTime(noon), GPUSlices: gpus}
	})
}

func amounts(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// podOf is a desktop's pod: a container, and a sidecar that goes on as long as it.
func podOf(name, node, cpu, memory string) corev1.Pod {
	asks := func(cpu, memory string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: amounts(cpu, memory)}}
	}
	sidecar := asks("50m", "64Mi")
	sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "desktops", UID: types.UID("pod-" + name)},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{asks(cpu, memory)}, InitContainers: []corev1.Container{asks("8", "8Gi"), sidecar}},
	}
}

func usedBy(name string, all ...corev1.ResourceList) podMetrics {
	m := podMetrics{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "desktops"}}
	for _, usage := range all {
		m.Containers = append(m.Containers, struct {
			Usage corev1.ResourceList `json:"usage"`
		}{usage})
	}
	return m
}

// busy is a cluster with three desktops that hold something, and others that do not.
func busy() lists {
	over := holds("over", "alice", "plain", 4)
	over.Status.Run.End = new(metav1.NewTime(noon))
	return lists{
		allSessions: []vdi.VDISession{
			holds("small", "bob", "plain", 0), holds("draws", "alice", "blender", 2), holds("plays", "alice", "plain", 1), over, *session(in(vdi.PhaseSuspended)),
		},
		allPods: []corev1.Pod{
			podOf("small", "cpu-1", "250m", "1Gi"), podOf("draws", "gpu-1", "4", "16Gi"), podOf("plays", "gpu-1", "2", "4Gi"), podOf("other", "gpu-1", "32", "64Gi"),
		},
		allMetrics: []podMetrics{
			usedBy("draws", amounts("1500m", "2Gi"), amounts("3000001n", "20Mi")), usedBy("small", amounts("100m", "512Mi")), usedBy("other", amounts("9", "9Gi")),
		},
	}
}

// Each desktop with what it holds, the largest first; what is over or suspended holds nothing.
func TestTop(t *testing.T) {
	printed, complaint, err := busy().say(t, "top")
	require.NoError(t, err)
	assert.Empty(t, complaint)
	assert.Equal(t, `NAMESPACE   NAME    USER    NODE    GPUS   CPU     MEMORY    CPU USED   MEMORY USED
desktops    draws   alice   gpu-1   2      4050m   16448Mi   1504m      2068Mi
desktops    plays   alice   gpu-1   1      2050m   4160Mi    -          -
desktops    small   bob     cpu-1   0      300m    1088Mi    100m       512Mi
`, printed)
	printed, _, err = busy().say(t, "top", "-o", "wide", "--no-headers")
	require.NoError(t, err)
	assert.Contains(t, printed, "2068Mi   blender\n")
	printed, _, err = busy().say(t, "top", "-o", "name")
	require.NoError(t, err)
	assert.Equal(t, "vdisession.vdi.kasm.io/draws\nvdisession.vdi.kasm.io/plays\nvdisession.vdi.kasm.io/small\n", printed)
}

// What is added up is what the desktops have together.
func TestTopBy(t *testing.T) {
	for by, want := range map[string]string{
		"user": `USER    SESSIONS   GPUS   CPU     MEMORY    CPU USED   MEMORY USED
alice   2          3      6100m   20608Mi   1504m      2068Mi
bob     1          0      300m    1088Mi    100m       512Mi
`,
		"template": `TEMPLATE   SESSIONS   GPUS   CPU     MEMORY    CPU USED   MEMORY USED
blender    1          2      4050m   16448Mi   1504m      2068Mi
plain      2          1      2350m   5248Mi    100m       512Mi
`,
		"node": `NODE    SESSIONS   GPUS   CPU     MEMORY    CPU USED   MEMORY USED
gpu-1   2          3      6100m   20608Mi   1504m      2068Mi
cpu-1   1          0      300m    1088Mi    100m       512Mi
`,
		"namespace": `NAMESPACE   SESSIONS   GPUS   CPU     MEMORY    CPU USED   MEMORY USED
desktops    3          3      6400m   21696Mi   1604m      2580Mi
`,
	} {
		printed, _, err := busy().say(t, "top", "--by", by)
		require.NoError(t, err, by)
		assert.Equal(t, want, printed, by)
	}
	for by, want := range map[string]string{"template": "vditemplate.vdi.kasm.io/blender\nvditemplate.vdi.kasm.io/plain\n", "node": "node/gpu-1\nnode/cpu-1\n", "namespace": "namespace/desktops\n"} {
		printed, _, err := busy().say(t, "top", "--by", by, "-o", "name")
		require.NoError(t, err, by)
		assert.Equal(t, want, printed, by)
	}
	printed, _, err := busy().say(t, "top", "--by", "namespace", "-o", "yaml")
	require.NoError(t, err)
	assert.Equal(t, `items:
- gpus: 3
  namespace: desktops
  requested:
    cpu: 6400m
    memory: 21696Mi
  sessions: 3
  used:
    cpu: 1603000001n
    memory: 2580Mi
`, printed)
}

// Of what nobody measures, or one may not read, there is no column.
func TestTopWithLess(t *testing.T) {
	few := busy()
	delete(few, allMetrics)
	few[allPods] = forbidden("", "pods")
	printed, complaint, err := few.say(t, "top")
	require.NoError(t, err)
	assert.Equal(t, `NAMESPACE   NAME    USER    GPUS
desktops    draws   alice   2
desktops    plays   alice   1
desktops    small   bob     0
`, printed)
	assert.Equal(t, "Not read: nodes and requests of desktops: you lack the role vdi-admin in the whole cluster\n"+
		"Not read: use of CPU and memory: this cluster has no metrics API (metrics.k8s.io); metrics-server brings it\n", complaint)

	_, _, err = few.say(t, "top", "--by", "node")
	assert.Contains(t, explain(err), "What is missing is the role vdi-admin in the whole cluster", "nothing else says where desktops are")

	few[allMetrics] = busy()[allMetrics]
	printed, _, err = few.say(t, "top", "--by", "user")
	require.NoError(t, err)
	assert.Contains(t, printed, "alice   2          3      1504m      2068Mi\n", "use is found by the pod's name")

	_, complaint, err = lists{allSessions: []vdi.VDISession{}, allPods: []corev1.Pod{}, allMetrics: []podMetrics{}}.say(t, "top")
	require.NoError(t, err)
	assert.Equal(t, "No desktop runs.\n", complaint)
}
