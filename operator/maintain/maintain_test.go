package maintain

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestCommandOf(t *testing.T) {
	for _, words := range [][]string{{"crds", "apply"}, {"templates", "apply"}, {"routes", "label"}, {"uninstall"}, {"check"}, {"check", "install"}, {"check", "upgrade"}} {
		do, rest, err := commandOf(append(words, "--timeout=1m"))
		require.NoError(t, err)
		assert.NotNil(t, do)
		assert.Equal(t, []string{"--timeout=1m"}, rest)
	}
	for _, words := range [][]string{{"crds"}, {"crds", "delete"}, {"unistall"}} {
		_, _, err := commandOf(words)
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "no such command")
	}
}

func TestUnknownFlag(t *testing.T) {
	err := Run(context.Background(), []string{"check", "--redy=x"}, "", discard{})
	require.ErrorIs(t, err, ErrRefused)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestOwnCRDs(t *testing.T) {
	crds, err := ownCRDs()
	require.NoError(t, err)
	var names []string
	for _, crd := range crds {
		names = append(names, crd.GetName())
		assert.NotContains(t, crd.Object, "status", "an apply must not own it")
	}
	assert.Equal(t, []string{"vdiquotas.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io", "vdiusages.vdi.kasm.io"}, names)
}

// A definition says which release it came with, so that none is brought down.
func TestDefinitionsCarryTheRelease(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "vdi-operator", "Chart.yaml"))
	require.NoError(t, err)
	var chart struct{ AppVersion string }
	require.NoError(t, yaml.Unmarshal(text, &chart))
	crds, err := ownCRDs()
	require.NoError(t, err)
	for _, crd := range crds {
		assert.Equal(t, chart.AppVersion, versionOf(crd), "%s: put the chart's appVersion into the markers %s in operator/api/v1alpha1 and run 'make generate'", crd.GetName(), wire.AnnotationVersion)
	}
}

func TestNewer(t *testing.T) {
	for _, c := range []struct{ there, ours, want string }{
		{"", "0.1.0", ""},
		{"0.0.9", "0.1.0", ""},
		{"0.1.0", "0.1.0", ""},
		{"0.1.0-rc.1", "0.1.0", ""},
		{"0.1.1", "0.1.0", "0.1.1"},
		{"0.10.0", "0.9.0", "0.10.0"},
		{"1.0.0-rc.1", "0.9.0", "1.0.0-rc.1"},
	} {
		got, err := newer(c.there, c.ours)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%s beside %s", c.there, c.ours)
	}
	_, err := newer("latest", "0.1.0")
	require.ErrorContains(t, err, wire.AnnotationVersion, "what nobody can compare is not guessed")
}

func TestReadTemplates(t *testing.T) {
	templates, err := readTemplates(file(t, "templates.yaml", "plain:\n  image: a\n  resources: {defaultGPU: 0}\n"))
	require.NoError(t, err)
	require.Len(t, templates, 1)
	plain := templates["plain"]
	assert.Equal(t, "plain", plain.Name)
	assert.Equal(t, "true", plain.Labels[wire.LabelDefaultTemplate])
	require.NotNil(t, plain.Spec.Resources.DefaultGPU)
	assert.Zero(t, *plain.Spec.Resources.DefaultGPU)
}

func TestBadTemplates(t *testing.T) {
	config := file(t, "config.yaml", "sessions:\n  domain: vdi.example.com\n")
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {"plain: {image: a, imgae: b}", `unknown field "plain.imgae"`},
		"other case":    {"plain: {Image: a}", `unknown field "plain.Image"`},
		"given twice":   {"plain: {image: a, image: b}", `"image" already set`},
		"no map":        {"- image: a", "cannot unmarshal array"},
		"unknown value": {"plain: {image: a, values: {podd: {}}}", `template "plain": spec.values.podd`},
		"no size":       {"plain: {image: a, resources: {defaultMemory: 4Gb}}", "4Gb"},
		"all of them":   {"one: {image: a, values: {x: 1}}\ntwo: {image: a, values: {z: 1}}", `invalid values: template "two": spec.values.z`},
	} {
		t.Run(name, func(t *testing.T) {
			templates, err := readTemplates(file(t, "templates.yaml", c.text))
			if err == nil {
				err = judge(templates, config)
			}
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestSessionNamespaces(t *testing.T) {
	assert.Equal(t, []string{""}, job{}.sessionNamespaces())
	assert.Equal(t, []string{"a", "b"}, job{options: options{watchNamespaces: "a,b"}}.sessionNamespaces())
}
