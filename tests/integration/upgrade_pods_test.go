package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/maintain"
)

// TestUpgradeCheckJudgesPods: the check before an upgrade finds in living desktops what the
// policy refuses of the operator's, and nothing else, by the arguments that the chart gives
// its Job. It cannot know who has chosen a node, and judges no namespace.
func TestUpgradeCheckJudgesPods(t *testing.T) {
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "judged"}}
	require.NoError(t, p.admin.Create(t.Context(), namespace))
	g := &guard{plane: p, name: namespace.Name, ns: namespace.Name}
	t.Setenv("KUBECONFIG", p.Kubeconfig())
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte("sessions: {domain: vdi.example.com, allowed: {secrets: [licence]}}"), 0o600))
	args := append(upgradeCheckArgs(t), "--settings=", "--config="+config, "--templates=/none", "--watch-namespaces="+g.ns)
	left := []string{"makes a pod of another account", "makes a pod past the scheduler", "makes a desktop where none may be"}
	judged := 0
	for _, a := range podAttempts() {
		if slices.Contains(left, a.what) {
			continue
		}
		t.Run(a.what, func(t *testing.T) {
			require.NoError(t, a.do(t.Context(), g, p.admin))
			out := &bytes.Buffer{}
			err := maintain.Run(t.Context(), args, operatorNamespace, out)
			if a.refused == "" {
				require.NoError(t, err, out)
			} else {
				require.ErrorIs(t, err, maintain.ErrRefused)
				require.Contains(t, out.String(), "the pod of "+g.ns+"/other has ")
			}
			made := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.ns, Name: "other"}}
			require.NoError(t, p.admin.Delete(t.Context(), made, client.GracePeriodSeconds(0)))
			judged++
		})
	}
	require.Greater(t, judged, 15)
}

// upgradeCheckArgs are those of the Job that checks an upgrade.
func upgradeCheckArgs(t *testing.T) []string {
	t.Helper()
	for _, o := range chartObjects(t, "sessions.allowed.secrets={licence}") {
		if o.GetKind() != "Job" {
			continue
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		require.NoError(t, err)
		args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		require.NoError(t, err)
		if slices.Equal(args[:2], []string{"check", "upgrade"}) {
			return args
		}
	}
	require.FailNow(t, "the chart has no such Job")
	return nil
}
