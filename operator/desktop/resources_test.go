package desktop

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestGPUOf: what a desktop has, whatever its template asks for by now.
func TestGPUOf(t *testing.T) {
	limits := func(names ...string) corev1.ResourceList {
		list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi")}
		for i, name := range names {
			list[corev1.ResourceName(name)] = *resource.NewQuantity(int64(i+1), resource.DecimalSI)
		}
		return list
	}
	for name, c := range map[string]struct {
		limits             corev1.ResourceList
		template, recorded string
		resource           string
		count              int32
	}{
		"none":                  {limits(), "nvidia.com/gpu", "", "", 0},
		"no limits":             {nil, "nvidia.com/gpu", "", "", 0},
		"the template's":        {limits("nvidia.com/gpu"), "nvidia.com/gpu", "", "nvidia.com/gpu", 1},
		"the template's of two": {limits("a.com/gpu", "nvidia.com/gpu"), "nvidia.com/gpu", "a.com/gpu", "nvidia.com/gpu", 2},
		"the recorded one":      {limits("amd.com/gpu"), "nvidia.com/gpu", "amd.com/gpu", "amd.com/gpu", 1},
		"what is no GPU":        {limits("rdma/hca"), "nvidia.com/gpu", "", "", 0},
		"no template":           {limits("nvidia.com/gpu"), "", "nvidia.com/gpu", "nvidia.com/gpu", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, count := GPUOf(c.limits, c.template, c.recorded)
			require.Equal(t, []any{c.resource, c.count}, []any{got, count})
		})
	}
}
