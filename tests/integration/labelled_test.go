package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

// TestWhenNamespacesMustBeLabelled: the chart demands the label by itself as soon as nobody
// would be stranded, and keeps to that.
func TestWhenNamespacesMustBeLabelled(t *testing.T) {
	t.Parallel()
	p, err := startEmptyPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}))
	const advice, beside = "kubectl label namespace old vdi.kasm.io/sessions=true", "sessions live in vdi-system, beside the platform"

	demands := func(values ...string) (yes bool, said string) {
		t.Helper()
		said = p.dryInstall(t, values...)
		annotations := named(t, objectsOf(t, said), policyKind, "places.vdi-operator.vdi-system").GetAnnotations()
		return annotations["vdi.kasm.io/namespace-label"] == "required", said
	}
	yes, _ := demands()
	require.True(t, yes, "a new install, before its kinds are known")

	root, err := repositoryRoot()
	require.NoError(t, err)
	require.NoError(t, p.installCRDs(t.Context(), filepath.Join(root, vdiCRDs), ""))
	yes, _ = demands()
	require.True(t, yes, "nobody has a session")

	old := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	require.NoError(t, p.admin.Create(t.Context(), old))
	g := &guard{ns: old.Name}
	require.NoError(t, p.admin.Create(t.Context(), g.session(desk, alice)))
	yes, said := demands()
	require.False(t, yes, "somebody lives without the label")
	require.Contains(t, said, advice)
	require.NotContains(t, said, beside)
	yes, _ = demands("access.mode=Local", "portal.namespace=old")
	require.False(t, yes, "nor must the portal's namespace have it")
	yes, said = demands("admission.namespaceLabel=Require")
	require.True(t, yes, "somebody insists")
	require.NotContains(t, said, advice)
	yes, said = demands("watchNamespaces={old}")
	require.False(t, yes, "namespaces are listed")
	require.NotContains(t, said, advice)

	old.Labels = map[string]string{"vdi.kasm.io/sessions": "true"}
	require.NoError(t, p.admin.Update(t.Context(), old))
	yes, said = demands()
	require.True(t, yes, "all have it")
	require.NotContains(t, said, advice)
	yes, _ = demands("admission.namespaceLabel=Warn")
	require.False(t, yes, "somebody wants it so")

	places := named(t, objectsOf(t, said), policyKind, "places.vdi-operator.vdi-system")
	annotations := places.GetAnnotations()
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = operatorName, operatorNamespace
	places.SetAnnotations(annotations)
	require.NoError(t, p.admin.Create(t.Context(), places))
	old.Labels = nil
	require.NoError(t, p.admin.Update(t.Context(), old))
	yes, said = demands()
	require.True(t, yes, "once demanded, always")
	require.NotContains(t, said, advice)

	require.NoError(t, p.admin.Create(t.Context(), (&guard{ns: operatorNamespace}).session(desk, alice)))
	_, said = demands()
	require.Contains(t, said, beside)
}

// dryInstall is what Helm would say of an install, having looked at the cluster.
func (p *plane) dryInstall(t *testing.T, values ...string) string {
	t.Helper()
	root, err := repositoryRoot()
	require.NoError(t, err)
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	args := []string{
		"install", operatorName, filepath.Join(root, "charts", "vdi-operator"), "--namespace", operatorNamespace, "--kubeconfig", p.Kubeconfig(),
		"--dry-run=server", "--no-hooks", "--skip-crds", "--set", "sessions.domain=vdi.example.com,crds.upgradeJob.enabled=false",
	}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "helm"), args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func objectsOf(t *testing.T, said string) []*unstructured.Unstructured {
	t.Helper()
	_, manifest, found := strings.Cut(said, "\nMANIFEST:\n")
	require.True(t, found, said)
	manifest, _, _ = strings.Cut(manifest, "\nNOTES:\n")
	objects, err := decodeObjects(manifest)
	require.NoError(t, err)
	return objects
}
