package renderer

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden outputs (make golden); read the diff before committing it")

func newRenderer(t testing.TB) *Renderer {
	t.Helper()
	r, err := New()
	require.NoError(t, err)
	return r
}

// goldenInputs are all golden sessions by name; it fails when it finds none.
func goldenInputs(t testing.TB) map[string]Input {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no golden sessions in testdata")
	inputs := map[string]Input{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var in Input
		require.NoError(t, yaml.UnmarshalStrict(data, &in), file)
		inputs[strings.TrimSuffix(filepath.Base(file), ".in.yaml")] = in
	}
	return inputs
}

// outcome is what a golden file holds: objects and revision, or an error.
func outcome(t testing.TB, got Rendered, err error) string {
	t.Helper()
	if err != nil {
		text, yamlErr := yaml.Marshal(map[string]string{"error": err.Error()})
		require.NoError(t, yamlErr)
		return string(text)
	}
	docs := []string{"# revision " + got.Revision + "\n"}
	for _, obj := range got.Objects {
		text, err := yaml.Marshal(obj.Object)
		require.NoError(t, err)
		docs = append(docs, string(text))
	}
	return strings.Join(docs, "---\n")
}

func TestRenderGolden(t *testing.T) {
	r := newRenderer(t)
	for name, in := range goldenInputs(t) {
		t.Run(name, func(t *testing.T) {
			got, err := r.Render(in)
			text := outcome(t, got, err)
			file := filepath.Join("testdata", name+".out.yaml")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err, "run: make golden")
			assert.Equal(t, string(want), text)
		})
	}
}
