package renderer

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// TestHideGPUs: an image's own variables give no GPU, but for those that the device plugin
// of the container's own GPU may set.
func TestHideGPUs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resource string
		has      bool
		hidden   []string
	}{
		"no GPU":               {"nvidia.com/gpu", false, []string{"AMD_VISIBLE_DEVICES", "NVIDIA_IMEX_CHANNELS", "NVIDIA_VISIBLE_DEVICES"}},
		"no GPU of AMD's":      {"amd.com/gpu", false, []string{"AMD_VISIBLE_DEVICES", "NVIDIA_IMEX_CHANNELS", "NVIDIA_VISIBLE_DEVICES"}},
		"NVIDIA's":             {"nvidia.com/mig-1g.10gb", true, []string{"AMD_VISIBLE_DEVICES", "NVIDIA_IMEX_CHANNELS"}},
		"AMD's":                {"amd.com/gpu", true, []string{"NVIDIA_IMEX_CHANNELS", "NVIDIA_VISIBLE_DEVICES"}},
		"nobody knows whose":   {"example.com/gpu", true, []string{"NVIDIA_IMEX_CHANNELS"}},
		"the name of no other": {"nvidia.community/gpu", true, []string{"NVIDIA_IMEX_CHANNELS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			container := map[string]any{"env": []any{map[string]any{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}}}
			if c.has {
				container["resources"] = map[string]any{"limits": map[string]any{c.resource: int64(1)}}
			}
			hideGPUs(container, c.resource)
			var hidden []string
			env, _ := container["env"].([]any)
			for _, entry := range manifest.Maps(env) {
				require.Equal(t, noGPUs, entry["value"])
				hidden = append(hidden, manifest.Text(entry["name"]))
			}
			slices.Sort(hidden)
			require.Equal(t, c.hidden, hidden)
			again := slices.Clone(env)
			hideGPUs(container, c.resource)
			require.Equal(t, again, container["env"])
		})
	}
}
