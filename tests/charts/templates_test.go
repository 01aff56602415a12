package charts

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

// ourRegistry is where a release will be; what is there today somebody has built.
const ourRegistry = "ghcr.io/vdi-platform/"

// TestTemplatesNameImagesThatExist: each template says where its image comes from and what was
// tried of it. Ours are recipes that the builder has, in the release's version; the others are
// public.
func TestTemplatesNameImagesThatExist(t *testing.T) {
	t.Parallel()
	version, _ := readYAML[map[string]any](t, inRepository("charts", "vdi-operator", "Chart.yaml"))["appVersion"].(string)
	require.NotEmpty(t, version)
	recipes := map[string]string{}
	for _, recipe := range images.Recipes() {
		recipes[images.ImageOf(recipe)+":"+version] = recipe
	}
	used := map[string]bool{}
	for _, file := range glob(t, "values", "templates", "*.yaml") {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		head, _, _ := strings.Cut(string(data), "\napiVersion:")
		require.Contains(t, head, "\n# Tried: ", file)
		image := readYAML[vdi.VDITemplate](t, file).Spec.Image
		name, isOurs := strings.CutPrefix(image, ourRegistry)
		if !isOurs {
			require.Contains(t, head, "\n# Image: public, of ", file)
			require.Regexp(t, `^(docker\.io|ghcr\.io)/[a-z0-9/-]+:[a-z0-9.-]+$`, image, "a public registry that global.imageRegistry takes the place of, and a tag")
			continue
		}
		recipe, found := recipes[name]
		require.True(t, found, "%s: nobody can build %s; the recipes of this version are %v", file, image, recipes)
		require.Contains(t, head, "\n# Image: ours, from Debian's packages.", file)
		require.Contains(t, head, "\n# Tried: run on a local cluster", file)
		if recipe != images.Plain {
			require.Contains(t, head, `DESKTOPS="plain `+recipe+`" make release`, file)
		}
		used[recipe] = true
	}
	for _, recipe := range recipes {
		require.True(t, used[recipe], "no template shows recipe %s", recipe)
	}
}
