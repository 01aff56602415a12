package charts

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// readYAML decodes as strictly as the API server: unknown, doubled and wrongly
// cased keys are errors.
func readYAML[T any](t *testing.T, path string) T {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data, err = yaml.YAMLToJSONStrict(data)
	require.NoError(t, err, path)
	var out T
	problems, err := kjson.UnmarshalStrict(data, &out)
	require.NoError(t, err, path)
	require.Empty(t, problems, path)
	return out
}

// TestChartLock computes the digest as helm does (internal/resolver.HashReq):
// a stale one makes `helm dependency build` fail.
func TestChartLock(t *testing.T) {
	t.Parallel()
	meta := readYAML[chart.Metadata](t, inRepository("charts", "vdi-platform", "Chart.yaml"))
	lock := readYAML[chart.Lock](t, inRepository("charts", "vdi-platform", "Chart.lock"))
	data, err := json.Marshal([2][]*chart.Dependency{meta.Dependencies, lock.Dependencies})
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	require.Equal(t, "sha256:"+hex.EncodeToString(sum[:]), lock.Digest)
	for i, dependency := range meta.Dependencies {
		require.Equal(t, dependency.Name, lock.Dependencies[i].Name)
		require.Equal(t, dependency.Version, lock.Dependencies[i].Version, "exact versions only")
	}
}

// TestVersions: the platform and its operator are released together, and a
// stand-in stands for exactly the version that users get.
func TestVersions(t *testing.T) {
	t.Parallel()
	meta := readYAML[chart.Metadata](t, inRepository("charts", "vdi-platform", "Chart.yaml"))
	operator := readYAML[chart.Metadata](t, inRepository("charts", "vdi-operator", "Chart.yaml"))
	traefik := readYAML[chart.Metadata](t, inRepository("tests", "standins", "traefik", "Chart.yaml"))
	require.Equal(t, meta.Version, operator.Version)
	require.Equal(t, meta.KubeVersion, operator.KubeVersion)
	gpus := readYAML[chart.Metadata](t, inRepository("tests", "standins", "gpu-operator", "Chart.yaml"))
	coturn := readYAML[chart.Metadata](t, inRepository("charts", "coturn", "Chart.yaml"))
	versions := map[string]string{operator.Name: operator.Version, traefik.Name: traefik.Version, gpus.Name: gpus.Version, coturn.Name: coturn.Version}
	for _, dependency := range meta.Dependencies {
		require.Equal(t, versions[dependency.Name], dependency.Version, dependency.Name)
		require.Equal(t, dependency.Name+".enabled", dependency.Condition)
	}
}

// TestLint: helm lint finds nothing, not even a warning.
func TestLint(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{s.chart, "--strict"}, offline()...)
			for _, file := range s.files {
				args = append(args, "--values", file)
			}
			out, err := helm.RunHelmCommandAndGetOutputContextE(t, t.Context(), scenario{}.options(), "lint", args...)
			require.NoError(t, err)
			require.NotContains(t, out, "[WARNING]")
		})
	}
}

// TestHelm4 renders the same objects as Helm 3.
func TestHelm4(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"template", "vdi", s.chart, "--namespace", releaseNamespace}, offline()...)
			args = append(args, s.args...)
			for _, file := range s.files {
				args = append(args, "--values", file)
			}
			out := helm4(t, args...)
			require.Equal(t, contents(t, mustRender(t, s)), contents(t, out))
		})
	}
}

func mustRender(t *testing.T, s scenario) string {
	t.Helper()
	out, err := render(t, s)
	require.NoError(t, err)
	return out
}

func helm4(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary("helm4"), args...)
	var words strings.Builder
	command.Stderr = &words
	out, err := command.Output()
	require.NoError(t, err, words.String())
	return string(out)
}

// contents are objects by name: Helm 3 and 4 may print them in another order.
func contents(t *testing.T, manifests string) map[string]map[string]any {
	t.Helper()
	byName := map[string]map[string]any{}
	for _, obj := range decode(t, manifests) {
		byName[key(obj)] = obj.Object
	}
	return byName
}

// TestNotes: what users read after an install. Helm 4 prints it without a cluster.
func TestNotes(t *testing.T) {
	t.Parallel()
	notes := func(s scenario) string { return notesOf(t, s) }
	withRoutes := operator(map[string]string{"frontDoor.routes": "Always"})
	operatorNotes := notes(withRoutes)
	for _, want := range []string{
		"Never vdi-system",
		"pod-security.kubernetes.io/enforce=restricted",
		"kind: VDITemplate",
		"kind: VDISession",
		"kubectl get vdi -A -w",
		"kubectl get secret -n vdi-sessions alice-credentials -o jsonpath='{.data.password}' | base64 -d",
		"https://*.vdi.example.com",
	} {
		require.Contains(t, operatorNotes, want)
	}
	require.NotContains(t, operatorNotes, "WARNING")
	require.Contains(t, notes(operator(map[string]string{"sessions.tls.mode": "Secret", "sessions.tls.secretName": "a"})), "where tenants could read it")
	require.Contains(t, notes(operator(map[string]string{"sessions.verifyRoute": "false"})), "WARNING: sessions.verifyRoute is off")

	platformNotes := notes(platformChart(nil))
	require.Contains(t, platformNotes, "kubectl get vdi -A -w")
	require.Contains(t, platformNotes, "WARNING: tlsStore.default is empty")
	require.NotContains(t, notes(platformChart(nil, inRepository("values", "local.yaml"))), "WARNING")
	require.Contains(t, notes(platformChart(map[string]string{"traefik.providers.kubernetesCRD.allowCrossNamespace": "true"})), "WARNING: traefik.providers.kubernetesCRD.allowCrossNamespace is on")
	require.NotContains(t, notes(scenarios(t)["vdi-platform-proxy-only"]), "VDISession")
}

func notesOf(t *testing.T, s scenario) string {
	t.Helper()
	args := []string{"install", "vdi", s.chart, "--namespace", releaseNamespace, "--dry-run=client"}
	for _, file := range s.files {
		args = append(args, "--values", file)
	}
	for _, name := range slices.Sorted(maps.Keys(s.set)) {
		args = append(args, "--set", name+"="+s.set[name])
	}
	_, text, found := strings.Cut(helm4(t, args...), "NOTES:\n")
	require.True(t, found)
	return text
}

// TestThirdPartyKeys: every key that we set for somebody else's chart exists in
// the real one, whose keys are recorded; the stand-in alone could be wrong in
// the same way.
func TestThirdPartyKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ keys, unknown string }{
		"traefik":      {"testdata/traefik-41.3.0.keys", "service.type"},
		"gpu-operator": {"testdata/gpu-operator-v26.7.0.keys", "devicePlugin.config.defaults"},
	} {
		known := recordedKeys(t, c.keys)
		files := append(glob(t, "values", "*.yaml"), inRepository("charts", "vdi-platform", "values.yaml"), inRepository("tests", "standins", name, "values.yaml"))
		for _, file := range files {
			for _, key := range leaves(valuesFor(t, file, name), "") {
				require.True(t, isKnown(known, key), "%s sets %s.%s, which the chart %s does not have", file, name, key, name)
			}
		}
		require.False(t, isKnown(known, c.unknown))
	}
}

// valuesFor are the values in a file that reach a dependency. Helm keeps the
// switch and the global values for itself.
func valuesFor(t *testing.T, file, dependency string) map[string]any {
	t.Helper()
	values := readYAML[map[string]any](t, file)
	if !strings.Contains(file, "standins") {
		values, _ = values[dependency].(map[string]any)
	}
	maps.DeleteFunc(values, func(key string, _ any) bool {
		return dependency != "traefik" && (key == "enabled" || key == "global")
	})
	return values
}

func recordedKeys(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	known := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			known[line] = true
		}
	}
	require.NotEmpty(t, known)
	return known
}

// isKnown: the key itself, or a map with free keys above it. A map of the chart
// that we leave empty is known by the keys below it.
func isKnown(known map[string]bool, name string) bool {
	if known[name] {
		return true
	}
	for i, letter := range name {
		if letter == '.' && known[name[:i]+".*"] {
			return true
		}
	}
	return known[name+".*"]
}

func leaves(values map[string]any, prefix string) []string {
	var names []string
	for name, value := range values {
		nested, isMap := value.(map[string]any)
		if isMap && len(nested) > 0 {
			names = append(names, leaves(nested, prefix+name+".")...)
		} else {
			names = append(names, prefix+name)
		}
	}
	return names
}
