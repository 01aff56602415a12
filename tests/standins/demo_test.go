package standins_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
)

// TestDemoKeepsToItsOwn: on somebody's cluster the demo finds out by the real helm whether
// the release and the session of its names are its own.
func TestDemoKeepsToItsOwn(t *testing.T) {
	m := start(t)
	t.Setenv("VDI_CLUSTER", "existing")
	t.Setenv("KUBECONFIG", m.kubeconfig)
	c, err := cluster.Open("demo")
	require.NoError(t, err)
	p, err := install.Open(c, os.Stderr)
	require.NoError(t, err)
	require.NoError(t, p.CheckOwn(t.Context()), "an empty cluster, which knows no sessions")

	release := func(verb string, more ...string) {
		args := append([]string{verb, "vdi", m.chart, "-n", "vdi-system", "-f", filepath.Join(m.root, "values", "local.yaml"), "--no-hooks"}, more...)
		m.must(t, "helm", args...)
	}
	place := filepath.Join(t.TempDir(), "namespace.yaml")
	require.NoError(t, os.WriteFile(place, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+install.Sessions+
		`, labels: {vdi.kasm.io/sessions: "true", pod-security.kubernetes.io/enforce: restricted}}}`), 0o600))
	m.must(t, "kubectl", "apply", "-f", place)
	release("install", "--create-namespace")
	require.ErrorContains(t, p.CheckOwn(t.Context()), "release vdi in namespace vdi-system is not the demo's")
	release("upgrade", "--labels", "demo.vdi.kasm.io/made=yes")
	require.NoError(t, p.CheckOwn(t.Context()))

	manifest := filepath.Join(m.root, "tests", "install", "manifests", "session.yaml")
	m.must(t, "kubectl", "apply", "-f", manifest)
	require.NoError(t, p.CheckOwn(t.Context()))
	m.must(t, "kubectl", "label", "-f", manifest, "demo.vdi.kasm.io/made-")
	require.ErrorContains(t, p.CheckOwn(t.Context()), "session alice in namespace vdi-sessions is not the demo's")
}
