package gpunodes

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// amounts are pairs of a resource and how much of it.
func amounts(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func node(name string, labels map[string]string, has ...string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Status:     corev1.NodeStatus{Allocatable: amounts(has...)},
	}
}

func readerOf(nodes ...client.Object) Reader {
	return reader{fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(nodes...).Build()}
}

// The cache keeps what nodes have, and labels of those with GPUs.
func TestTrim(t *testing.T) {
	labels := map[string]string{"pool": "desktops", "nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.present": "true"}
	for name, c := range map[string]struct{ labels, want map[string]string }{
		"with GPUs":    {labels, labels},
		"without GPUs": {map[string]string{"pool": "office"}, nil},
	} {
		whole := node("node", c.labels, "memory", "64Gi", "nvidia.com/gpu", "4")
		whole.UID, whole.ResourceVersion = "uid", "7"
		want := node("node", c.want, "memory", "64Gi", "nvidia.com/gpu", "4")
		want.UID, want.ResourceVersion = "uid", "7"

		whole.Annotations = map[string]string{"volumes": "many"}
		whole.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
		whole.Spec.PodCIDR = "10.0.0.0/24"
		whole.Status.Capacity = amounts("memory", "65Gi")
		whole.Status.Images = []corev1.ContainerImage{{Names: []string{"desktop"}}}
		whole.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady}}
		whole.Status.Addresses = []corev1.NodeAddress{{Address: "10.0.0.1"}}
		kept, err := trim(whole)
		require.NoError(t, err, name)
		assert.Equal(t, want, kept, name)
	}
}

func TestGPUs(t *testing.T) {
	nodes := readerOf(
		node("a", map[string]string{"pool": "desktops", "nvidia.com/gpu.product": "NVIDIA-L4"}),
		node("b", map[string]string{"pool": "training", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}),
		node("c", map[string]string{"pool": "desktops"}),
	)
	template := vdi.VDITemplateSpec{Scheduling: vdi.TemplateScheduling{NodeSelector: map[string]string{"pool": "desktops"}}}
	gpus, err := nodes.GPUs(t.Context(), template)
	require.NoError(t, err)
	assert.Equal(t, []platform.GPUNode{{Product: "NVIDIA-L4"}}, gpus)
}

func TestMost(t *testing.T) {
	nodes := readerOf(
		node("a", nil, "cpu", "8", "nvidia.com/gpu", "2"),
		node("b", nil, "cpu", "3500m", "nvidia.com/gpu", "4"),
		node("c", nil, "cpu", "16"),
	)
	for name, want := range map[corev1.ResourceName]string{"nvidia.com/gpu": "4", "cpu": "16", "amd.com/gpu": "0"} {
		most, known, err := nodes.Most(t.Context(), name)
		require.NoError(t, err, name)
		assert.True(t, known, name)
		assert.Equal(t, want, most.String(), name)
	}
	_, known, err := readerOf().Most(t.Context(), "cpu")
	require.NoError(t, err)
	assert.False(t, known, "no node is known")
}

func TestLacking(t *testing.T) {
	nodes := readerOf(node("a", nil, "memory", "64Gi", "nvidia.com/gpu", "2"), node("b", nil, "memory", "128Gi", "amd.com/gpu", "0"))
	for name, c := range map[string]struct {
		nodes Reader
		asked corev1.ResourceList
		want  []string // resource, asked, most
	}{
		"enough":             {nodes, amounts("nvidia.com/gpu", "2", "memory", "128Gi"), nil},
		"a wrong name":       {nodes, amounts("nvidia.com/gqu", "1"), []string{"nvidia.com/gqu 1 0"}},
		"too much":           {nodes, amounts("nvidia.com/gpu", "4"), []string{"nvidia.com/gpu 4 2"}},
		"a plugin that left": {nodes, amounts("amd.com/gpu", "1"), []string{"amd.com/gpu 1 0"}},
		"by name":            {nodes, amounts("z/z", "1", "memory", "1Ti", "a/a", "1"), []string{"a/a 1 0", "memory 1Ti 128Gi", "z/z 1 0"}},
		"none asked for":     {nodes, amounts("amd.com/gpu", "0"), nil},
		"no node known":      {readerOf(), amounts("amd.com/gpu", "1"), nil},
		"nobody reads nodes": {nil, amounts("amd.com/gpu", "1"), nil},
	} {
		short, err := Lacking(t.Context(), c.nodes, c.asked)
		require.NoError(t, err, name)
		var got []string
		for _, s := range short {
			got = append(got, string(s.Resource)+" "+s.Asked.String()+" "+s.Most.String())
		}
		assert.Equal(t, c.want, got, name)
	}
}

// Nodes that cannot be read are an error, not a shortage.
func TestUnreadable(t *testing.T) {
	down := errors.New("down")
	list := func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return down }
	nodes := reader{fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{List: list}).Build()}
	_, err := Lacking(t.Context(), nodes, amounts("cpu", "1"))
	require.ErrorIs(t, err, down)
	_, err = nodes.GPUs(t.Context(), vdi.VDITemplateSpec{})
	require.ErrorIs(t, err, down)
}

// News are labels of GPUs and extended resources: a heartbeat or the memory of a
// node is none, and a node without either never is.
func TestChanged(t *testing.T) {
	card := map[string]string{"nvidia.com/gpu.product": "NVIDIA-L4"}
	plain, labelled, offers := node("n", nil, "memory", "1Gi"), node("n", card, "memory", "1Gi"), node("n", nil, "amd.com/gpu", "1")
	p := Changed()
	for name, c := range map[string]struct {
		before, after *corev1.Node
		want          bool
	}{
		"heartbeat":             {labelled, labelled, false},
		"memory":                {plain, node("n", nil, "memory", "2Gi"), false},
		"a label":               {plain, labelled, true},
		"a resource comes":      {plain, offers, true},
		"a resource goes":       {offers, node("n", nil, "amd.com/gpu", "0"), true},
		"an amount changes":     {offers, node("n", nil, "amd.com/gpu", "2"), true},
		"an amount is the same": {offers, node("n", nil, "amd.com/gpu", "1000m", "memory", "1Gi"), false},
	} {
		assert.Equal(t, c.want, p.Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}), name)
	}
	gone := node("n", nil, "amd.com/gpu", "0")
	for n, want := range map[*corev1.Node]bool{plain: false, labelled: true, offers: true, gone: false} {
		assert.Equal(t, want, p.Create(event.CreateEvent{Object: n}), "%v", n)
		assert.Equal(t, want, p.Delete(event.DeleteEvent{Object: n}), "%v", n)
	}
}
