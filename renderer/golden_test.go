package renderer

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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

// fullSessions are written whole, the others as what differs from "defaults".
func fullSessions() []string { return []string{"defaults", "oidc", "webrtc"} }

// objectsOf are the rendered objects as a list, named by kind, without the hashes,
// which change with everything else and have a test of their own (TestRevisions).
func objectsOf(got Rendered) []any {
	out := make([]any, len(got.Objects))
	for i, obj := range got.Objects {
		out[i] = withoutRevisions(obj).Object
	}
	return out
}

func withoutRevisions(obj *unstructured.Unstructured) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	annotations := obj.GetAnnotations()
	delete(annotations, wire.AnnotationRevision)
	delete(annotations, wire.AnnotationSessionRevision)
	if len(annotations) == 0 {
		annotations = nil
	}
	obj.SetAnnotations(annotations)
	return obj
}

func renderedObjects(t testing.TB, r *Renderer, in Input) []any {
	t.Helper()
	got, err := r.Render(in)
	require.NoError(t, err)
	return objectsOf(got)
}

// full is all that is rendered, in order.
func full(t testing.TB, objects []any) string {
	t.Helper()
	docs := make([]string, len(objects))
	for i, obj := range objects {
		docs[i] = toText(t, obj)
	}
	return strings.Join(docs, "---\n")
}

// beside is what differs from the session "defaults".
func beside(t testing.TB, defaults, objects []any) string {
	t.Helper()
	change := difference(defaults, objects)
	if change == nil {
		change = map[string]any{}
	}
	return "# Beside defaults.out.yaml:\n" + toText(t, change)
}

func toText(t testing.TB, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// refusal is the reason by which callers sort an error, and its words.
func refusal(t testing.TB, err error) string {
	t.Helper()
	for reason, kind := range map[string]error{"values": ErrValues, "guard": ErrGuard, "resources": ErrResources, "no relay": platform.ErrNoRelay} {
		if errors.Is(err, kind) {
			return toText(t, map[string]string{"refused": reason, "words": err.Error()})
		}
	}
	require.Fail(t, "an error without a reason", err)
	return ""
}

func TestRenderGolden(t *testing.T) {
	r, inputs := newRenderer(t), goldenInputs(t)
	defaults := renderedObjects(t, r, inputs["defaults"])
	for name, in := range inputs {
		t.Run(name, func(t *testing.T) {
			var text string
			switch got, err := r.Render(in); {
			case err != nil:
				text = refusal(t, err)
			case slices.Contains(fullSessions(), name):
				text = full(t, objectsOf(got))
			default:
				text = beside(t, defaults, objectsOf(got))
			}
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

// TestGoldenLeftOvers fails on outputs of sessions that are gone.
func TestGoldenLeftOvers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.out.yaml")
	require.NoError(t, err)
	inputs := goldenInputs(t)
	for _, file := range files {
		assert.Contains(t, inputs, strings.TrimSuffix(filepath.Base(file), ".out.yaml"), "remove %s", file)
	}
}
