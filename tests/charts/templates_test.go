package charts

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

// ourRegistry is where a release will be; what is there today somebody has built.
const ourRegistry = "ghcr.io/vdi-platform/"

// requireTried demands that a template's head says what was run of it and in which version, or
// that nothing was. Selkies' is the one that our recipes install: with another they have to be
// run again.
func requireTried(t *testing.T, file, head string) {
	t.Helper()
	_, tried, found := strings.Cut(head, "\n# Tried: ")
	require.True(t, found, "%s does not say what was tried", file)
	tried = strings.Join(strings.Fields(strings.ReplaceAll(tried, "\n#", " ")), " ")
	if !strings.HasPrefix(tried, "run ") {
		require.Regexp(t, `^(rendered, )?not run\b`, tried, file)
		return
	}
	require.Regexp(t, `[A-Z][A-Za-z]+ \d+\.\d+`, tried, "%s says that it was run: with which version? Else write \"not run\"", file)
	recipe, err := images.Recipe(images.Plain)
	require.NoError(t, err)
	for _, named := range regexp.MustCompile(`Selkies (\d[0-9.]*\d)`).FindAllStringSubmatch(tried, -1) {
		require.Regexp(t, `(?m)^selkies==`+regexp.QuoteMeta(named[1])+`$`, string(recipe[images.Requirements]), "%s was run with Selkies %s: run it again, or write \"not run\"", file, named[1])
	}
}

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
		requireTried(t, file, head)
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
		if recipe != images.Plain {
			require.Contains(t, head, `DESKTOPS="plain `+recipe+`" make release`, file)
		}
		used[recipe] = true
	}
	for _, recipe := range recipes {
		require.True(t, used[recipe], "no template shows recipe %s", recipe)
	}
}
