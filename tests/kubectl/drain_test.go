package kubectl

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// says runs the program and returns what it prints, with its exit code.
func (w *world) says(t *testing.T, args ...string) (string, int) {
	t.Helper()
	c := w.command(t, "kubectl-vdi", args...)
	out, _ := c.CombinedOutput()
	return string(out), c.ProcessState.ExitCode()
}

// node makes a node that goes with the test.
func (w *world) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	require.NoError(t, w.client.Create(t.Context(), node))
	t.Cleanup(func() { require.NoError(t, w.client.Delete(context.WithoutCancel(t.Context()), node)) })
	return node
}

// desktopOn makes a session with a pod on a node.
func (w *world) desktopOn(t *testing.T, node, name string) *corev1.Pod {
	t.Helper()
	w.made(t, name)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "desktops", Name: name, Labels: map[string]string{wire.LabelName: wire.NameSession, wire.LabelManagedBy: wire.Operator, wire.LabelInstance: name}}}
	pod.Spec.NodeName, pod.Spec.Containers = node, []corev1.Container{{Name: "desktop", Image: "x"}}
	pod.Spec.AutomountServiceAccountToken = new(false)
	require.NoError(t, w.client.Create(t.Context(), pod))
	return pod
}

func (w *world) leaves(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	require.NoError(t, w.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
}

// orderOf is what stands on a session.
func (w *world) orderOf(t *testing.T, name string) (order map[string]any) {
	t.Helper()
	if words := w.session(t, "desktops", name).GetAnnotations()[wire.AnnotationDrain]; words != "" {
		require.NoError(t, json.Unmarshal([]byte(words), &order))
	}
	return order
}

// TestDrain: a node is cordoned, the desktops on it get their order, whoever wants to sees
// them leave, and an order can be taken back.
func TestDrain(t *testing.T) {
	node, other := w.node(t, "old-1"), w.node(t, "old-2")
	first, second, elsewhere := w.desktopOn(t, node.Name, "drawn"), w.desktopOn(t, node.Name, "drained"), w.desktopOn(t, other.Name, "dry")

	out, code := w.says(t, "drain", "old-1", "--at", "2040-01-02T12:00:00Z", "--restart", "--message", "New driver", "--dry-run", "server")
	assert.Zero(t, code)
	assert.Contains(t, out, "node old-1 cordoned (server dry run)\nsession desktops/drained starts again elsewhere at 2040-01-02T12:00:00Z (server dry run)\n")
	assert.Empty(t, w.orderOf(t, "drawn"))

	out, code = w.says(t, "drain", "old-1", "--at", "2040-01-02T12:00:00Z", "--restart", "--message", "New driver")
	assert.Zero(t, code)
	assert.Equal(t, `node old-1 cordoned
session desktops/drained starts again elsewhere at 2040-01-02T12:00:00Z
session desktops/drawn starts again elsewhere at 2040-01-02T12:00:00Z
`, out)
	assert.Equal(t, map[string]any{"node": "old-1", "at": "2040-01-02T12:00:00Z", "restart": true, "message": "New driver"}, w.orderOf(t, "drawn"))
	assert.Empty(t, w.orderOf(t, "dry"), "it is on another node")
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKeyFromObject(node), node))
	assert.True(t, node.Spec.Unschedulable)

	l := w.start(t, "drain", "old-1", "--watch")
	l.shows("node old-1 already cordoned")
	l.shows("session desktops/drawn is suspended at")
	w.leaves(t, first)
	l.shows("session desktops/drawn has left node old-1")

	out, code = w.says(t, "drain", "old-1", "--cancel")
	assert.Zero(t, code)
	assert.Equal(t, "session desktops/drained may stay\nsession desktops/drawn may stay\nnode old-1 uncordoned\n", out)
	assert.Empty(t, w.orderOf(t, "drained"))
	w.leaves(t, second)
	l.shows("session desktops/drained has left node old-1")
	assert.Zero(t, l.ends())

	out, code = w.says(t, "drain", "old-1", "--watch")
	assert.Zero(t, code)
	assert.Equal(t, "node old-1 cordoned\nNo desktop is on node old-1.\n", out)
	w.leaves(t, elsewhere)
}

// TestDrainIsRefused: wrong words and missing rights do nothing.
func TestDrainIsRefused(t *testing.T) {
	w.node(t, "old-3")
	pod := w.desktopOn(t, "old-3", "stays")
	for want, args := range map[string][]string{
		`Error from server (NotFound): nodes "old-9" not found`: {"old-9"},
		"is over: leave it out to begin now":                    {"old-3", "--at", "2020-01-02T12:00:00Z"},
		"give a time such as":                                   {"old-3", "--at", "18:00"},
		"None of the platform's roles grants get on nodes":      {"old-3", "--as", "somebody"},
	} {
		out, code := w.says(t, append([]string{"drain"}, args...)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, want)
	}
	assert.Empty(t, w.orderOf(t, "stays"))
	w.leaves(t, pod)
}
