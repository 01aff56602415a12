package gpunodes

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func node(labels, annotations map[string]string) *metav1.PartialObjectMetadata {
	m := Metadata()
	m.ObjectMeta = metav1.ObjectMeta{
		Name: "node", UID: "uid", ResourceVersion: "7", Labels: labels, Annotations: annotations,
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
	}
	return m
}

// The cache keeps labels of nodes with GPUs, and names of the others.
func TestKeepLabels(t *testing.T) {
	labels := map[string]string{"pool": "desktops", "nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.present": "true"}
	for name, c := range map[string]struct{ labels, want map[string]string }{
		"with GPUs":    {labels, labels},
		"without GPUs": {map[string]string{"pool": "office"}, nil},
	} {
		kept, err := keepLabels(node(c.labels, map[string]string{"volumes": "many"}))
		require.NoError(t, err, name)
		want := Metadata()
		want.Name, want.UID, want.ResourceVersion, want.Labels = "node", "uid", "7", c.want
		assert.Equal(t, want, kept, name)
	}
}

// A heartbeat of a node is no news, and a node without GPUs never is.
func TestChanged(t *testing.T) {
	card := map[string]string{"nvidia.com/gpu.product": "NVIDIA-L4"}
	p := Changed()
	assert.False(t, p.Update(event.UpdateEvent{ObjectOld: node(card, nil), ObjectNew: node(card, nil)}))
	assert.True(t, p.Update(event.UpdateEvent{ObjectOld: node(nil, nil), ObjectNew: node(card, nil)}))
	assert.True(t, p.Create(event.CreateEvent{Object: node(card, nil)}))
	assert.False(t, p.Create(event.CreateEvent{Object: node(nil, nil)}))
	assert.True(t, p.Delete(event.DeleteEvent{Object: node(card, nil)}))
	assert.False(t, p.Delete(event.DeleteEvent{Object: node(nil, nil)}))
}
