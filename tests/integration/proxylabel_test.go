package integration

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// withoutProxyLabel makes the route as an earlier version left it.
func (w *world) withoutProxyLabel() {
	w.t.Helper()
	route := w.route()
	require.Equal(w.t, "true", route.GetLabels()[wire.LabelProxy])
	labels := route.GetLabels()
	delete(labels, wire.LabelProxy)
	route.SetLabels(labels)
	require.NoError(w.t, w.overwrite(route))
	require.NotContains(w.t, w.route().GetLabels(), wire.LabelProxy)
}

// TestRoutesOfEarlierVersions: a living desktop's route gets the label by which the proxy
// reads it, and nothing else of the desktop changes, whatever waits for its next start.
func TestRoutesOfEarlierVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(w *world)
		pending metav1.ConditionStatus
	}{
		"nothing else is new": {func(*world) {}, "absent"},
		"a new revision waits": {func(w *world) {
			w.config.Sessions.Values = map[string]any{"pod": map[string]any{"shmSize": "2Gi"}, "ingressRoute": map[string]any{"annotations": map[string]any{"a": "b"}}}
		}, metav1.ConditionTrue},
		"the template is gone": {func(w *world) { w.deleteTemplate() }, metav1.ConditionTrue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.running()
			w.withoutProxyLabel()
			c.change(w)
			w.events.forget()
			before, route := w.versions(), w.route()

			w.restart()
			w.pass()
			after := w.versions()
			marked := w.route()
			require.Equal(t, "true", marked.GetLabels()[wire.LabelProxy])
			require.Equal(t, route.Object["spec"], marked.Object["spec"])
			require.Equal(t, route.GetAnnotations(), marked.GetAnnotations())
			require.NotContains(t, w.events.all(), "PutBack", "it is no repair")
			require.Equal(t, c.pending, condition(w.session(), vdi.ConditionUpdatePending).Status)
			changed := 0
			for key, version := range before {
				if after[key] != version {
					changed++
				}
			}
			require.Equal(t, 1, changed, "nothing but the route is written: %v %v", before, after)

			w.pass()
			require.Equal(t, after, w.versions(), "once")
		})
	}
}
