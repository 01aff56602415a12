package gpu

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const sliced = `
version: v1
flags: {migStrategy: none}
sharing:
  timeSlicing:
    renameByDefault: false
    failRequestsGreaterThanOne: true
    resources:
      - name: nvidia.com/gpu
        replicas: 4
`

func TestParseSharing(t *testing.T) {
	tests := map[string]struct {
		text     string
		replicas int
		resource string
		err      string
	}{
		"sliced":     {text: sliced, replicas: 4, resource: "nvidia.com/gpu"},
		"not shared": {text: "version: v1", replicas: 1, resource: "nvidia.com/gpu"},
		"renamed": {
			text:     "version: v1\nsharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 2}]}}",
			replicas: 2, resource: "nvidia.com/gpu.shared",
		},
		"other resource": {
			text:     "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/mig-1g.5gb, replicas: 2}]}}",
			replicas: 1, resource: "nvidia.com/gpu",
		},
		"one replica":  {text: "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}", err: "at least 2 replicas"},
		"no version":   {text: "sharing: {}", err: "unknown version"},
		"not yaml":     {text: "a: b: c", err: "parse sharing configuration"},
		"wrong number": {text: "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: many}]}}", err: "parse sharing configuration"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSharing(tt.text)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.replicas, s.Replicas())
			assert.Equal(t, tt.resource, s.ResourceName())
		})
	}
}

func TestSliceIDs(t *testing.T) {
	shared, err := ParseSharing(sliced)
	require.NoError(t, err)
	ids := shared.sliceIDs(2)
	assert.Len(t, ids, 8)
	assert.Equal(t, []string{cardID(0), cardID(1)}, cardsOf(ids))
	assert.Equal(t, []string{cardID(0)}, Sharing{}.sliceIDs(1), "a card that is not shared has a bare name")
}

func TestMoreThanOneSlice(t *testing.T) {
	strict, err := ParseSharing(sliced)
	require.NoError(t, err)
	require.NoError(t, strict.check(1))
	require.ErrorIs(t, strict.check(2), errMoreThanOne)
	require.NoError(t, DefaultSharing().check(2), "allowed unless the configuration forbids it")
	require.NoError(t, Sharing{}.check(2), "whole cards may be combined")
}

func TestLabels(t *testing.T) {
	assert.Equal(t, "NVIDIA-L4-SHARED", DefaultSharing().labelsOf(1, "NVIDIA-L4")["nvidia.com/gpu.product"])
	labels := Sharing{}.labelsOf(2, "NVIDIA-L4")
	assert.Equal(t, "NVIDIA-L4", labels["nvidia.com/gpu.product"])
	assert.Equal(t, "2", labels["nvidia.com/gpu.count"])
	assert.Equal(t, "none", labels["nvidia.com/gpu.sharing-strategy"])
}

func TestNodeLabelBeatsDefault(t *testing.T) {
	config := &corev1.ConfigMap{Data: map[string]string{"any": "version: v1", "big": sliced}}
	node := &corev1.Node{}
	s, err := sharingFor(node, config, "any")
	require.NoError(t, err)
	assert.Equal(t, 1, s.Replicas())

	node.ObjectMeta = metav1.ObjectMeta{Labels: map[string]string{configLabel: "big"}}
	s, err = sharingFor(node, config, "any")
	require.NoError(t, err)
	assert.Equal(t, 4, s.Replicas())

	node.Labels[configLabel] = "missing"
	_, err = sharingFor(node, config, "any")
	require.ErrorContains(t, err, `no key "missing"`)
}
