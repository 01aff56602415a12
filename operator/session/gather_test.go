package session

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// What the cache keeps of a route is all that was sent, once it is compared.
func TestRouteIsKeptWhole(t *testing.T) {
	t.Parallel()
	sent := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
		"metadata": map[string]any{"name": "desk", "namespace": "vdi", "labels": map[string]any{"a": "b"}},
		"spec": map[string]any{
			"entryPoints": []any{"websecure"},
			"routes":      []any{map[string]any{"match": "Host(`desk.example.com`)", "priority": int64(10), "unknown": true}},
			"tls":         map[string]any{},
		},
	}}
	text, err := json.Marshal(sent)
	require.NoError(t, err)
	scheme := runtime.NewScheme()
	AddToScheme(scheme)
	decoded, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(text, nil, nil)
	require.NoError(t, err)
	route := decoded.(*ingressRoute)

	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).Build()}
	whole, err := r.cached().asUnstructured(route)
	require.NoError(t, err)
	require.Equal(t, sent.Object["spec"], whole.Object["spec"])
	require.Equal(t, sent.GetLabels(), whole.GetLabels())
	require.Equal(t, sent.GroupVersionKind(), whole.GroupVersionKind())

	other := route.DeepCopyObject().(*ingressRoute)
	require.False(t, childDiffers(route, other))
	other.Spec[len(other.Spec)-2] = ' '
	require.True(t, childDiffers(route, other))
	require.NotEqual(t, route.Spec, other.Spec, "a copy is a copy")
}
