package install

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// TestForeign: what bears the demo's names without its mark is somebody's own.
func TestForeign(t *testing.T) {
	session := func(labels map[string]string) *vdi.VDISession {
		return &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: "alice", Namespace: "vdi-sessions", Labels: labels}}
	}
	demos, err := Session()
	require.NoError(t, err)
	require.NoError(t, found{}.foreign())
	require.NoError(t, found{release: true, releaseMarked: true, session: demos}.foreign())
	require.NoError(t, found{release: true, releaseMarked: true}.foreign(), "an interrupted demo goes on")
	require.ErrorContains(t, found{release: true}.foreign(), "release vdi in namespace vdi-system is not the demo's")
	require.ErrorContains(t, found{release: true}.foreign(), "helm uninstall vdi -n vdi-system")
	require.ErrorContains(t, found{release: true, session: demos}.foreign(), "release vdi")
	require.ErrorContains(t, found{session: session(nil)}.foreign(), "session alice in namespace vdi-sessions is not the demo's")
	require.ErrorContains(t, found{release: true, releaseMarked: true, session: session(map[string]string{markKey: "no"})}.foreign(), "kubectl delete vdi alice -n vdi-sessions")
}

// TestAuthority: the file lies in the checkout, and an existing cluster's goes with the demo.
func TestAuthority(t *testing.T) {
	t.Setenv("VDI_CLUSTER", "existing")
	t.Setenv("KUBECONFIG", filepath.Join("somebody", "config"))
	c, err := cluster.Open("demo")
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(c.KubeconfigPath()))
	p := &Platform{Cluster: c, root: t.TempDir(), CA: []byte("authority")}
	file, err := p.WriteAuthority()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(p.root, ".cluster", "demo-existing", "ca.crt"), file)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "authority", string(text))
	require.NoError(t, p.ForgetAuthority())
	require.NoDirExists(t, filepath.Dir(file))
}
