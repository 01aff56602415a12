package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// TestPackage: every chart becomes an archive that is small enough for a
// release's Secret and holds nothing that Helm does not need.
func TestPackage(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	for _, source := range []string{inRepository("charts", "vdi-operator"), inRepository("charts", "vdi-session"), inRepository("charts", "coturn"), umbrella} {
		printed, err := exec.CommandContext(t.Context(), binary("helm"), "package", source, "--destination", out).CombinedOutput()
		require.NoError(t, err, string(printed))
	}
	archives, err := filepath.Glob(filepath.Join(out, "*.tgz"))
	require.NoError(t, err)
	require.Len(t, archives, 4)
	for _, archive := range archives {
		info, err := os.Stat(archive)
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(256<<10), archive)
		packed, err := loader.Load(archive)
		require.NoError(t, err)
		for _, file := range packed.Raw {
			require.NotRegexp(t, `^(ci/|docs/|\.schema|README\.md\.gotmpl|CHANGELOG\.md)`, file.Name, archive)
		}
	}
}

// TestAnnotations: what the chart tells a catalogue is true.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	meta := readYAML[chart.Metadata](t, inRepository("charts", "vdi-operator", "Chart.yaml"))
	require.Contains(t, meta.Annotations["artifacthub.io/images"], "vdi-operator:"+meta.AppVersion)
	named := regexp.MustCompile(`name: (\S+\.vdi\.kasm\.io)`).FindAllStringSubmatch(meta.Annotations["artifacthub.io/crds"], -1)
	require.Len(t, named, len(glob(t, "charts", "vdi-operator", "crds", "*.yaml")))
	for _, name := range named {
		files := glob(t, "charts", "vdi-operator", "crds", "*.yaml")
		found := false
		for _, file := range files {
			crd := readYAML[map[string]any](t, file)
			found = found || crd["metadata"].(map[string]any)["name"] == name[1]
		}
		require.True(t, found, name[1])
	}
}
