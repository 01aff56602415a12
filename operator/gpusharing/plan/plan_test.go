package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
	n.Status.Allocatable = corev1.ResourceList{gpu: resource.MustParse(allocatable), "cpu": resource.MustParse("8")}
	return n
}

func planOf(data map[string]string, nodes ...corev1.Node) Plan {
	return Of(platform.TimeSlicing{ConfigMap: "time-slicing-config", Namespace: "gpu-operator"}, data, "any", nodes)
}

func reportOf(p Plan, before Report, late map[string]bool) Report {
	return ReportOf(p.Problems, p.Nodes, before, late)
}

func TestOf(t *testing.T) {
	sharing := map[string]string{"any": configOf("4"), "many": configOf("8"), "odd": configOf("0")}
	labelled := func(key string) map[string]string { return map[string]string{platform.SharingLabel: key} }
	for name, c := range map[string]struct {
		node      corev1.Node
		want      Node
		asPlanned bool
		problem   string
	}{
		"by default":            {gpuNode("a", "4", nil), Node{Config: "any", Planned: map[string]int64{gpu: 4}, Allocatable: map[string]int64{gpu: 4}}, true, ""},
		"by its label":          {gpuNode("a", "8", labelled("many")), Node{Config: "many", Planned: map[string]int64{gpu: 8}, Allocatable: map[string]int64{gpu: 8}}, true, ""},
		"too few":               {gpuNode("a", "4", labelled("many")), Node{Config: "many", Planned: map[string]int64{gpu: 8}, Allocatable: map[string]int64{gpu: 4}}, false, ""},
		"a label of no key":     {gpuNode("a", "4", labelled("x")), Node{Config: "x", Allocatable: map[string]int64{gpu: 4}}, true, "names no configuration"},
		"a key that is broken":  {gpuNode("a", "4", labelled("odd")), Node{Config: "odd", Allocatable: map[string]int64{gpu: 4}}, true, "has 0 replicas"},
		"cards nobody can read": {gpuNode("a", "4", map[string]string{"nvidia.com/gpu.count": "x"}), Node{Config: "any", Allocatable: map[string]int64{gpu: 4}}, true, "is no number of cards"},
	} {
		p := planOf(sharing, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}, c.node)
		if !assert.Len(t, p.Nodes, 1, name) {
			continue
		}
		got := p.Nodes[0]
		if c.problem != "" {
			assert.ErrorContains(t, got.Problem, c.problem, name)
		} else {
			assert.NoError(t, got.Problem, name)
		}
		assert.Equal(t, c.asPlanned, got.AsPlanned(), name)
		got.Problem, c.want.Name = nil, "a"
		assert.Equal(t, c.want, got, name)
		assert.Len(t, p.Problems, 1, "%s: the broken key is reported", name)
		assert.Equal(t, c.want.Config == "odd", p.Broken, "%s: a broken key that nobody uses holds nothing up", name)
	}
	assert.True(t, planOf(map[string]string{"any": "version: v2"}).Broken, "nodes to come would use it")
	assert.Equal(t, []string{"there is no ConfigMap time-slicing-config in namespace gpu-operator: GPUs are not shared by this platform"}, planOf(nil).Problems)
}

func TestRunsWith(t *testing.T) {
	data := map[string]string{"any": configOf("4")}
	assert.True(t, RunsWith(map[string]string{wire.AnnotationSharingHash: platform.HashOf(data)}, data))
	assert.False(t, RunsWith(map[string]string{wire.AnnotationSharingHash: "another"}, data))
	assert.False(t, RunsWith(nil, data), "it was never restarted for a configuration")
}

func TestReport(t *testing.T) {
	data := map[string]string{"any": configOf("4")}
	r := reportOf(planOf(data,
		gpuNode("good", "4", nil), gpuNode("late", "8", nil), gpuNode("slow", "8", nil),
		gpuNode("lost", "8", map[string]string{platform.SharingLabel: "huge"}),
		corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
	), Report{}, map[string]bool{"late": true})
	assert.Equal(t, AsPlanned, r.Config.State)
	assert.Len(t, r.Nodes, 4, "a node without GPUs is not judged")
	assert.Equal(t, NodeReport{
		Config: "any", Planned: map[string]int64{gpu: 4}, Allocatable: map[string]int64{gpu: 4},
		State: AsPlanned, Message: "Node good offers nvidia.com/gpu=4 as planned",
	}, r.Nodes["good"])
	assert.Equal(t, Mismatch, r.Nodes["late"].State)
	assert.Equal(t, "Node late offers nvidia.com/gpu=8, but nvidia.com/gpu=4 is planned: look at the device plugin's pod on it", r.Nodes["late"].Message)
	assert.Equal(t, Changing, r.Nodes["slow"].State)
	assert.Equal(t, WrongConfig, r.Nodes["lost"].State)
	assert.Contains(t, r.Nodes["lost"].Message, "nvidia.com/device-plugin.config=huge names no configuration; there is any")
	assert.Equal(t, r, ParseReport(r.Data()), "an operator that starts anew reads what was reported")
}

// A difference that was reported stays so, also by an operator that starts anew;
// a new plan gets its time.
func TestReportedMismatchStays(t *testing.T) {
	four := planOf(map[string]string{"any": configOf("4")}, gpuNode("a", "8", nil))
	before := reportOf(four, Report{}, map[string]bool{"a": true})
	assert.Equal(t, Mismatch, reportOf(four, before, nil).Nodes["a"].State)
	two := planOf(map[string]string{"any": configOf("2")}, gpuNode("a", "8", nil))
	assert.Equal(t, Changing, reportOf(two, before, nil).Nodes["a"].State)
}

// What a node offers now counts, by the plan that the operator reported.
func TestNow(t *testing.T) {
	data := map[string]string{"any": configOf("4")}
	reported := func(allocatable string, labels map[string]string, late bool) Report {
		return ParseReport(reportOf(planOf(data, gpuNode("a", allocatable, labels)), Report{}, map[string]bool{"a": late}).Data())
	}
	for name, c := range map[string]struct {
		before Report
		now    string
		state  State
	}{
		"as planned":              {reported("4", nil, false), "4", AsPlanned},
		"it has lost its slices":  {reported("4", nil, false), "0", Changing},
		"it has come by them":     {reported("8", nil, true), "4", AsPlanned},
		"it differs, as reported": {reported("8", nil, true), "8", Mismatch},
		"it changes":              {reported("8", nil, false), "8", Changing},
		"it has no plan":          {reported("4", map[string]string{platform.SharingLabel: "x"}, false), "4", WrongConfig},
	} {
		node := gpuNode("a", c.now, nil)
		now, is, found := c.before.Now(&node)
		assert.True(t, found, name)
		assert.Equal(t, c.state, is.State, name)
		amount := node.Status.Allocatable[gpu]
		assert.Equal(t, amount.Value(), is.Allocatable[gpu], name)
		assert.Equal(t, c.before.Nodes["a"].Planned, now.Planned, name)
		assert.Equal(t, now.Allocatable, is.Allocatable, name)
	}
	other := gpuNode("b", "4", nil)
	_, _, found := reported("4", nil, false).Now(&other)
	assert.False(t, found)
}
