package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// TestNamespacedInstaller: an administrator applies the file of values/namespaced.yaml, and
// somebody who may write in the release's namespace alone installs, upgrades and uninstalls.
func TestNamespacedInstaller(t *testing.T) {
	t.Parallel()
	p, err := startEmptyPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	for _, name := range []string{operatorNamespace, "vdi-sessions"} {
		require.NoError(t, p.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"vdi.kasm.io/sessions": "true"}}}))
	}
	values := namespacedValues(t)

	rendered := p.run(t, "helm", "", append(append([]string{"template"}, values...), "--include-crds", "--no-hooks", "--kube-version", "1.37.2", "--set", "clusterObjects=Only")...)
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	require.NoError(t, os.WriteFile(file, []byte(rendered), 0o600))
	p.run(t, "kubectl", p.Kubeconfig(), "apply", "--server-side", "-f", file)

	p.createInstaller(t)
	kubeconfig := p.kubeconfigOf(t, "installer")
	// No kubelet runs the Job that makes the keys.
	install := append(append([]string{"install", "--skip-crds"}, values...), "--no-hooks")
	p.run(t, "helm", kubeconfig, install...)
	install[0] = "upgrade"
	p.run(t, "helm", kubeconfig, install...)
	p.run(t, "helm", kubeconfig, "uninstall", operatorName, "--namespace", operatorNamespace, "--no-hooks")
}

// namespacedValues are what helm takes of the operator's chart, as the profile has it.
func namespacedValues(t *testing.T) []string {
	t.Helper()
	root, err := repositoryRoot()
	require.NoError(t, err)
	return []string{
		operatorName, filepath.Join(root, "charts", "vdi-operator"), "--namespace", operatorNamespace,
		"--set", "sessions.domain=vdi.example.com,watchNamespaces={vdi-sessions},encoder.readNodes=false,frontDoor.routes=Always",
		"--set", "sessions.proxy.namespace=traefik,sessions.proxy.labelJob.enabled=false,crds.upgradeJob.enabled=false,upgradeCheck.enabled=false,hooks.check=false,uninstall.job.enabled=false",
		"--set", "clusterObjects=Leave",
	}
}

// createInstaller makes an account that administers the release's namespace and nothing else.
func (p *plane) createInstaller(t *testing.T) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "installer", Namespace: operatorNamespace}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: meta.Name, Namespace: meta.Namespace}}
	require.NoError(t, p.admin.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}))
	for kind, name := range map[string]string{"ClusterRole": "admin", "Role": operatorName + "-installer"} {
		require.NoError(t, p.admin.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: operatorNamespace}, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name},
		}))
	}
}

// run is a tool's output; it must succeed.
func (p *plane) run(t *testing.T, tool, kubeconfig string, args ...string) string {
	t.Helper()
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	if kubeconfig != "" {
		args = append(args, "--kubeconfig", kubeconfig)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, tool), args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
