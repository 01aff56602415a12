package gpusharing

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

const gpu = "nvidia.com/gpu"

func configOf(replicas string) string {
	return "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: " + replicas + "}]}}"
}

func gpuNode(name, allocatable string, labels map[string]string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"nvidia.com/gpu.count": "1"}}}
	for k, v := range labels {
		n.Labels[k] = v
	}
	n.Status.Allocatable = corev1.ResourceList{gpu: resource.MustParse(allocatable)}
	return n
}

// observe judges nodes against a configuration, without a cluster.
func observe(data map[string]string, nodes ...corev1.Node) *pass {
	p := &pass{data: data, byDefault: "any", raw: nodes}
	p.plan(platform.TimeSlicing{ConfigMap: "time-slicing-config", Namespace: "gpu-operator"})
	return p
}

func TestEventsBetween(t *testing.T) {
	steps := []struct {
		pass *pass
		late bool
		want []string
	}{
		{pass: observe(map[string]string{"any": configOf("8")}, gpuNode("a", "8", nil))},
		{pass: observe(map[string]string{"any": configOf("4")}, gpuNode("a", "8", nil))},
		{pass: observe(map[string]string{"any": configOf("4")}, gpuNode("a", "8", nil)), late: true, want: []string{"Warning GPUSlicesMismatch"}},
		{pass: observe(map[string]string{"any": configOf("4")}, gpuNode("a", "8", nil)), late: true},
		{pass: observe(map[string]string{"any": configOf("4")}, gpuNode("a", "4", nil)), want: []string{"Normal GPUSlicesAsPlanned"}},
		{pass: observe(map[string]string{"any": configOf("0")}, gpuNode("a", "4", nil)), want: []string{"Warning GPUSharingWrong", "Warning GPUSlicesMismatch"}},
		{pass: observe(nil), want: []string{"Warning GPUSharingWrong"}},
		{pass: observe(map[string]string{"any": configOf("4")}, gpuNode("a", "4", nil)), want: []string{"Normal GPUSharingCorrected"}},
	}
	before := plan.Report{}
	for i, step := range steps {
		after := plan.ReportOf(step.pass.problems, step.pass.nodes, before, map[string]bool{"a": step.late})
		var got []string
		for _, h := range eventsBetween(before, after) {
			got = append(got, h.kind+" "+h.reason)
		}
		assert.Equal(t, step.want, got, "step %d", i)
		before = after
	}
}

// The plugin is never restarted into a configuration that a node or a node to
// come would choke on; a broken key that nobody uses does not hold it up.
func TestBrokenConfigInUse(t *testing.T) {
	broken := map[string]string{"any": configOf("4"), "odd": configOf("0")}
	assert.False(t, observe(broken, gpuNode("a", "4", nil)).broken)
	assert.True(t, observe(broken, gpuNode("a", "4", map[string]string{platform.SharingLabel: "odd"})).broken)
	assert.True(t, observe(map[string]string{"any": "version: v2"}).broken)
	assert.Len(t, observe(broken).problems, 1, "but it is reported")
}

func TestWaiting(t *testing.T) {
	r, began := &Reconciler{}, time.Now()
	p := observe(map[string]string{"any": configOf("4")}, gpuNode("a", "8", nil))
	assert.Equal(t, map[string]bool{"a": false}, r.overdue(p, began))
	assert.Equal(t, settle, r.requeueAfter(began))
	assert.Equal(t, map[string]bool{"a": true}, r.overdue(p, began.Add(settle)))
	assert.Zero(t, r.requeueAfter(began.Add(settle)), "reported once, nothing to wait for")
	assert.Empty(t, r.overdue(observe(map[string]string{"any": configOf("4")}, gpuNode("a", "4", nil)), began))
	assert.Empty(t, r.differsSince)
	assert.Equal(t, time.Second, sooner(0, time.Second))
	assert.Equal(t, time.Second, sooner(time.Minute, time.Second))
	assert.Equal(t, time.Second, sooner(time.Second, 0))
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	empty, err := registry.Gather()
	require.NoError(t, err)
	assert.Empty(t, empty, "nothing is claimed before the first pass")
	p := observe(map[string]string{"any": configOf("4"), "odd": "?"}, gpuNode("a", "8", nil))
	m.show(plan.ReportOf(p.problems, p.nodes, plan.Report{}, map[string]bool{"a": true}))
	families, err := registry.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, l := range metric.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = metric.GetGauge().GetValue()
		}
	}
	assert.Equal(t, map[string]float64{
		"vdi_gpu_slices a nvidia.com/gpu planned":     4,
		"vdi_gpu_slices a nvidia.com/gpu allocatable": 8,
		"vdi_gpu_sharing_problems":                    2,
	}, got)
}

// The cache keeps what decides, and nothing else.
func TestKept(t *testing.T) {
	n := gpuNode("a", "8", map[string]string{"kubernetes.io/os": "linux"})
	n.Status.Images = []corev1.ContainerImage{{Names: []string{"large"}}}
	kept, err := keepGPUs(&n)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"nvidia.com/gpu.count": "1"}, kept.(*corev1.Node).Labels)
	assert.Empty(t, kept.(*corev1.Node).Status.Images)
	amount := kept.(*corev1.Node).Status.Allocatable[gpu]
	assert.EqualValues(t, 8, amount.Value())

	policy := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"driver":       map[string]any{"enabled": true},
		"devicePlugin": map[string]any{"config": map[string]any{"name": "a", "default": "b"}},
	}}}
	policy.SetGroupVersionKind(policyGVK)
	small, err := keepPluginConfig(policy)
	require.NoError(t, err)
	configMap, byDefault := policyConfig(small.(*unstructured.Unstructured))
	assert.Equal(t, "a b", configMap+" "+byDefault)
	assert.NotContains(t, small.(*unstructured.Unstructured).Object["spec"], "driver")
}
