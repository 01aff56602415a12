package standins_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// makePackage runs `make package` into a folder of its own.
func (m machine) makePackage(t *testing.T, dist string, more ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{"--no-print-directory", "package", "DIST=" + dist}, more...)...)
	command.Dir = m.root
	// Where no chart repository answers, with or without the internet.
	command.Env = append(os.Environ(), "HTTPS_PROXY=http://127.0.0.1:9", "NO_PROXY=")
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestPackage: `make package` says what to do where third-party charts cannot
// be fetched; with them at hand it makes an umbrella that holds exactly what
// Chart.lock names, and that both helms install from its archive.
func TestPackage(t *testing.T) {
	t.Parallel()
	m := start(t)
	dist := t.TempDir()
	out, err := m.makePackage(t, dist)
	require.Error(t, err)
	require.Contains(t, out, "chart gpu-operator v26.7.0 could not be fetched from https://helm.ngc.nvidia.com/nvidia")
	require.Contains(t, out, "put the archive into "+dist+"/third-party/, and run 'make package' again")
	require.NoFileExists(t, filepath.Join(dist, "vdi-platform-0.1.0.tgz"))

	for _, name := range []string{"gpu-operator", "traefik"} {
		m.must(t, "helm", "package", filepath.Join(m.chart, "charts", name), "--destination", filepath.Join(dist, "third-party"))
	}
	out, err = m.makePackage(t, dist)
	require.NoError(t, err, out)

	archive := filepath.Join(dist, "vdi-platform-0.1.0.tgz")
	packed, err := loader.Load(archive)
	require.NoError(t, err)
	require.NotNil(t, packed.Lock, "Chart.lock is packed")
	have := map[string]string{}
	for _, dependency := range packed.Dependencies() {
		have[dependency.Name()] = dependency.Metadata.Version
	}
	want := map[string]string{}
	for _, dependency := range packed.Lock.Dependencies {
		want[dependency.Name] = dependency.Version
	}
	require.Equal(t, want, have)
	locked, err := os.ReadFile(filepath.Join(m.root, "charts", "vdi-platform", "Chart.lock"))
	require.NoError(t, err)
	for _, file := range packed.Raw {
		if file.Name == "Chart.lock" {
			require.YAMLEq(t, string(locked), string(file.Data))
		}
	}
	local := filepath.Join(m.root, "values", "local.yaml")
	m.sessions(t)
	for _, helm := range []string{"helm", "helm4"} {
		m.must(t, helm, "install", "vdi", archive, "-n", "vdi-system", "--create-namespace", "-f", local, "--no-hooks")
		m.must(t, "kubectl", "get", "-n", "vdi-system", "deployment/vdi-operator", "deployment/vdi-traefik")
		m.must(t, helm, "uninstall", "vdi", "-n", "vdi-system", "--no-hooks")
		// Only now: helm 3 asks a cluster that it reaches for the kinds.
		m.must(t, helm, "install", "vdi", archive, "-n", "vdi-system", "-f", local, "--dry-run=client")
		rendered := func(chart string) string {
			return m.must(t, helm, "template", "vdi", chart, "-n", "vdi-system", "-f", local, "--kube-version", "1.37.2", "--set", "traefik.image.tag="+standins.BuiltTraefik)
		}
		require.Equal(t, rendered(m.chart), rendered(archive), "as from the folder")
	}
	m.packageOfRelease(t, dist, archive)
}

// packageOfRelease: a release is refused while its charts name images by tag, and with all
// digests at hand everything that we start is named by them.
func (m machine) packageOfRelease(t *testing.T, dist, archive string) {
	t.Helper()
	out, err := m.makePackage(t, dist, "RELEASE=yes")
	require.Error(t, err)
	require.Contains(t, out, "vdi-platform-0.1.0.tgz: chart vdi-platform names image traefik by its tag, which can be moved: package with DIGESTS=FILE")
	digests, lines := filepath.Join(t.TempDir(), "digests"), ""
	for i, image := range []string{"vdi-operator", "coturn", "traefik"} {
		lines += image + " sha256:" + strings.Repeat(strconv.Itoa(i), 64) + "\n"
	}
	require.NoError(t, os.WriteFile(digests, []byte(lines), 0o600))
	out, err = m.makePackage(t, dist, "RELEASE=yes", "DIGESTS="+digests)
	require.NoError(t, err, out)
	rendered := m.must(t, "helm", "template", "vdi", archive, "-n", "vdi-system", "-f", filepath.Join(m.root, "values", "local.yaml"), "--kube-version", "1.37.2")
	require.Contains(t, rendered, "vdi-platform/vdi-operator@sha256:"+strings.Repeat("0", 64))
	require.Contains(t, rendered, "@sha256:"+strings.Repeat("2", 64))
	require.NotContains(t, rendered, "vdi-platform/vdi-operator:")
}
