package renderer

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// escapes are patches of pods that try to leave the sandbox.
func escapes(t testing.TB) (patches []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/escapes.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(data, &patches))
	require.NotEmpty(t, patches)
	return patches
}

func overlayOf(t testing.TB, patch string) []platform.Overlay {
	t.Helper()
	return []platform.Overlay{{Kind: wire.KindPod, Merge: &runtime.RawExtension{Raw: []byte(patch)}}}
}

// FuzzPatch: whatever a patch of the pod says, the result is refused, or it is
// an object set of the expected kinds, names and namespace.
func FuzzPatch(f *testing.F) {
	for _, patch := range escapes(f) {
		f.Add(patch)
	}
	r, in := newRenderer(f), goldenInputs(f)["defaults"]
	f.Fuzz(func(t *testing.T, patch string) {
		in := in
		in.Platform.Sessions.Overlay = overlayOf(t, patch)
		got, err := r.Render(in)
		if err != nil {
			requireKnown(t, err)
			return
		}
		requireExpectedSet(t, got, in)
	})
}

// FuzzRender: text that people choose stays text, wherever it stands.
func FuzzRender(f *testing.F) {
	for _, text := range []string{
		"alice", "a\nkind: Secret", "---\napiVersion: v1", "*anchor &x", "{{ .Values }}", "`) || Host(`evil`", "\t- x", "yes", "null", "~", "0x10",
		"2020-01-01", "a: b", "# c", "\u2028", "\u0085", "\ufeff", "'\"\\", "<no value>", "$$a$(B)$", "!!binary x", "%YAML 1.1",
	} {
		f.Add(text, text, text, "TZ")
	}
	r, base := newRenderer(f), goldenInputs(f)["defaults"]
	f.Fuzz(func(t *testing.T, user, image, value, variable string) {
		if !utf8.ValidString(user + image + value + variable) {
			t.Skip("the API server stores UTF-8 only")
		}
		in := base
		in.Session.Spec.User, in.Template.Spec.Image = user, image
		in.Template.Spec.Env = []vdi.EnvVar{{Name: variable, Value: value}}
		got, err := r.Render(in)
		if err != nil {
			requireKnown(t, err)
			return
		}
		requireExpectedSet(t, got, in)
		pod := typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0])
		assert.Equal(t, user, pod.Annotations[wire.AnnotationUser])
		assert.Equal(t, image, pod.Spec.Containers[0].Image)
		requireEnv(t, pod.Spec.Containers[0].Env, variable, value)
	})
}

func requireKnown(t *testing.T, err error) {
	t.Helper()
	known := errors.Is(err, ErrValues) || errors.Is(err, ErrGuard) || errors.Is(err, ErrResources)
	require.True(t, known, "an error of no kind: %v", err)
}

func requireExpectedSet(t *testing.T, got Rendered, in Input) {
	t.Helper()
	want := map[string]string{wire.KindNetworkPolicy: "desk", wire.KindPersistentVolumeClaim: "vdi-data-desk", wire.KindService: "desk", wire.KindPod: "desk", wire.KindIngressRoute: "desk"}
	require.Len(t, got.Objects, len(want))
	for _, obj := range got.Objects {
		require.Equal(t, want[obj.GetKind()], obj.GetName())
		require.Equal(t, in.Session.Namespace, obj.GetNamespace())
	}
	match := manifest.Text(manifest.Maps(manifest.Nested(got.ofKind(wire.KindIngressRoute)[0].Object, "spec", "routes"))[0]["match"])
	require.Equal(t, "Host(`"+in.Host+"`)", match)
}

// requireEnv wants a variable that the platform does not own to be there once,
// with its exact value, in the container.
func requireEnv(t *testing.T, env []corev1.EnvVar, name, value string) {
	t.Helper()
	owned := strings.HasPrefix(name, "SELKIES_") || strings.HasPrefix(name, "NVIDIA_") || strings.Contains(name, "PASS") || strings.HasSuffix(name, "USER") || strings.HasSuffix(name, "TOKEN")
	if owned || name == "SUBFOLDER" || name == "CUSTOM_WS_PORT" {
		return
	}
	count := 0
	for _, v := range env {
		if v.Name == name {
			count++
			require.Equal(t, value, kubelet(v.Value, reference))
		}
	}
	require.Equal(t, 1, count, name)
}

// reference leaves references to the login as they were written.
func reference(name string) string {
	if value := loginsOnly(name); value == "EXPANDED" {
		return value
	}
	return "$(" + name + ")"
}

func FuzzResources(f *testing.F) {
	f.Add("4Gi", "2", int32(1))
	f.Add("1e3", "-1", int32(-5))
	r, base := newRenderer(f), goldenInputs(f)["defaults"]
	f.Fuzz(func(t *testing.T, memory, cpu string, gpus int32) {
		in := base
		in.Session.Spec.Resources = vdi.SessionResources{GPU: &gpus, Memory: vdi.Quantity(memory), CPU: vdi.Quantity(cpu)}
		got, err := r.Render(in)
		if err != nil {
			requireKnown(t, err)
			return
		}
		pod := typed[corev1.Pod](t, got.ofKind(wire.KindPod)[0])
		for name, limit := range pod.Spec.Containers[0].Resources.Limits {
			request, found := pod.Spec.Containers[0].Resources.Requests[name]
			require.False(t, found && request.Cmp(limit) > 0, "%s: request %s above limit %s", name, request.String(), limit.String())
			require.Positive(t, limit.Sign())
		}
	})
}
