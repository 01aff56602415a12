package install

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDelivery: only who has a cluster may say how it gets images.
func TestDelivery(t *testing.T) {
	said := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	for _, c := range []struct {
		existing bool
		values   map[string]string
		want     delivery
	}{
		{false, nil, byLoading},
		{false, map[string]string{"REGISTRY": "registry.example.com", "IMAGES": "loaded"}, byLoading},
		{true, nil, byLoading},
		{true, map[string]string{"REGISTRY": "registry.example.com", "IMAGES": "loaded"}, byRegistry},
		{true, map[string]string{"IMAGES": "loaded"}, byOthers},
		{true, map[string]string{"IMAGES": "here"}, byLoading},
	} {
		require.Equal(t, c.want, deliveryOf(c.existing, said(c.values)), "%v", c)
	}
}
