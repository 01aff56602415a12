package charts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// releaseNamespace is where the documentation installs the platform.
const releaseNamespace = "vdi-system"

// offline are what helm would ask a cluster for.
func offline() []string { return []string{"--kube-version", "1.37.2"} }

// scenario is one way to install a chart.
type scenario struct {
	chart string            // path of the chart
	files []string          // values files, in order
	set   map[string]string // single values
	args  []string          // further arguments of helm template
}

func (s scenario) options() *helm.Options {
	return &helm.Options{
		ValuesFiles:    s.files,
		SetValues:      s.set,
		KubectlOptions: &k8s.KubectlOptions{Namespace: releaseNamespace},
		Logger:         logger.Discard,
	}
}

// render returns what helm template prints, or the error with helm's words.
func render(t *testing.T, s scenario) (string, error) {
	t.Helper()
	return helm.RenderTemplateContextE(t, t.Context(), s.options(), s.chart, "vdi", nil, append(offline(), s.args...)...)
}

// objects renders a scenario that must work.
func objects(t *testing.T, s scenario) []*unstructured.Unstructured {
	t.Helper()
	out, err := render(t, s)
	require.NoError(t, err)
	return decode(t, out)
}

func decode(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var objs []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifests), 4096)
	for {
		var obj unstructured.Unstructured
		err := decoder.Decode(&obj)
		if errors.Is(err, io.EOF) {
			return objs
		}
		require.NoError(t, err)
		if len(obj.Object) > 0 {
			objs = append(objs, &obj)
		}
	}
}

// key names an object among the rendered ones.
func key(obj *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", obj.GetKind(), obj.GetNamespace(), obj.GetName())
}

// find decodes the one object of this kind and name strictly into out.
func find[T any](t *testing.T, objs []*unstructured.Unstructured, kind, name string) T {
	t.Helper()
	for _, obj := range objs {
		if obj.GetKind() == kind && obj.GetName() == name {
			return typed[T](t, obj)
		}
	}
	require.Failf(t, "not rendered", "%s %s", kind, name)
	panic("unreachable")
}

func typed[T any](t *testing.T, obj *unstructured.Unstructured) T {
	t.Helper()
	var out T
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(obj.Object, &out, true)
	require.NoError(t, err, key(obj))
	return out
}

// ofKind are the rendered objects of the kinds.
func ofKind(objs []*unstructured.Unstructured, kinds ...string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, obj := range objs {
		for _, kind := range kinds {
			if obj.GetKind() == kind {
				out = append(out, obj)
			}
		}
	}
	return out
}

// operator is the operator's chart with its least values, and more.
func operator(set map[string]string, files ...string) scenario {
	values := map[string]string{"sessions.domain": "vdi.example.com"}
	for name, value := range set {
		values[name] = value
	}
	return scenario{chart: inRepository("charts", "vdi-operator"), files: files, set: values}
}

// platformChart is the umbrella chart with its least values, and more.
func platformChart(set map[string]string, files ...string) scenario {
	domain, err := filepath.Abs("testdata/domain-values.yaml")
	if err != nil {
		panic(err)
	}
	s := scenario{chart: umbrella, files: append([]string{domain}, files...), set: set}
	if slices.ContainsFunc(files, func(file string) bool { return caseName(file) == "production" }) {
		s.args = prometheusOperator() // which that profile asks for
	}
	return s
}

// scenarios are all ci values of both charts and all install profiles, by name.
func scenarios(t *testing.T) map[string]scenario {
	t.Helper()
	all := map[string]scenario{}
	for _, file := range glob(t, "charts", "vdi-operator", "ci", "*-values.yaml") {
		all["vdi-operator-"+caseName(file)] = scenario{chart: inRepository("charts", "vdi-operator"), files: []string{file}}
	}
	for _, file := range glob(t, "charts", "vdi-platform", "ci", "*-values.yaml") {
		all["vdi-platform-"+caseName(file)] = scenario{chart: umbrella, files: []string{file}}
	}
	for _, file := range glob(t, "values", "*.yaml") {
		all["profile-"+caseName(file)] = platformChart(nil, withOthers(t, file)...)
	}
	// What no node of the tests could run is not in ci/, whose files chart-testing installs.
	all["vdi-operator-overrides"] = scenario{chart: inRepository("charts", "vdi-operator"), files: []string{"testdata/operator-overrides-values.yaml"}}
	all["vdi-operator-oidc"] = scenario{chart: inRepository("charts", "vdi-operator"), files: []string{"testdata/oidc-values.yaml"}}
	all["vdi-operator-local"] = scenario{chart: inRepository("charts", "vdi-operator"), files: []string{"testdata/local-values.yaml"}}
	return all
}

// filesOfCommand are the values files of a profile's helm command.
var filesOfCommand = regexp.MustCompile(`-f (values/[a-z0-9-]+\.yaml)`)

// withOthers are the files with which a profile is installed, in order: those that the first
// helm command in its head names. Each names itself, last.
func withOthers(t *testing.T, profile string) (files []string) {
	t.Helper()
	text, err := os.ReadFile(profile)
	require.NoError(t, err)
	_, command, found := strings.Cut(string(text), "\n#   helm ")
	require.True(t, found, "%s has no command", profile)
	command, _, _ = strings.Cut(command, "\n#\n")
	for _, match := range filesOfCommand.FindAllStringSubmatch(command, -1) {
		files = append(files, inRepository(strings.Split(match[1], "/")...))
	}
	require.NotEmpty(t, files, "%s: its command names no values file", profile)
	require.Equal(t, profile, files[len(files)-1], "the command of a profile ends with itself")
	return files
}

// glob finds files of the repository, and fails when there are none.
func glob(t *testing.T, pattern ...string) []string {
	t.Helper()
	files, err := filepath.Glob(inRepository(pattern...))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no file matches %s", filepath.Join(pattern...))
	return files
}

func caseName(file string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".yaml"), "-values")
}
