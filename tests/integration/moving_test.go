package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestMoveToAnotherCluster follows the operator chart's page word for word,
// from one control plane to another: the home is the same volume, the host the
// same person's, and the session a new object.
func TestMoveToAnotherCluster(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	before, after := newSite(t), newSite(t)
	require.NoError(t, after.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: before.ns}}))
	after.ns, after.template = before.ns, before.template
	after.restart()

	require.NoError(t, before.client.Create(t.Context(), volume()))
	old := before.running()
	quota := before.createQuota("moved", vdi.VDIQuotaSpec{Total: &vdi.TotalLimits{Running: new(int32(3))}})
	before.eventually(func() bool { return before.home().Status.Phase == corev1.ClaimBound }, "the home has a volume")

	before.follow(folder, "suspend")
	before.pass()
	before.podEnds(desk)
	before.pass()
	for _, stage := range []string{"wait", "save", "hosts"} {
		before.follow(folder, stage)
	}
	kept := &corev1.PersistentVolume{}
	require.NoError(t, before.client.Get(t.Context(), client.ObjectKey{Name: "home"}, kept))
	require.Equal(t, corev1.PersistentVolumeReclaimRetain, kept.Spec.PersistentVolumeReclaimPolicy)

	after.follow(folder, "restore")
	after.eventually(func() bool { return after.home().Status.Phase == corev1.ClaimBound }, "the home has its volume")
	require.Equal(t, "home", after.home().Spec.VolumeName)
	require.NoError(t, after.client.Get(t.Context(), client.ObjectKeyFromObject(quota), &vdi.VDIQuota{}), "quotas move, too")
	after.pass()
	after.requirePhase(vdi.PhaseSuspended)
	after.change(func(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicyRunning })
	after.start()

	moved := after.session()
	require.NotEqual(t, old.UID, moved.UID)
	require.Equal(t, old.Status.URL, moved.Status.URL)
	require.Equal(t, renderer.HomeClaimName(desk), moved.Status.Home.ClaimName)
	require.Equal(t, after.home().UID, moved.Status.Home.UID)
}

// site is a world with a cluster of its own, for what looks at all namespaces.
type site struct {
	*world
	kubeconfig string
}

// newSite has hosts that belong to people.
func newSite(t *testing.T) site {
	t.Helper()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.installRouteKind(t.Context()))
	w := newWorldOn(t, p, func(c *platform.Config) { c.Sessions.HostTemplate = "{user}" })
	return site{world: w, kubeconfig: p.Kubeconfig()}
}

// volume is storage that both clusters reach.
func volume() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "home"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "storage.example.com", Path: "/home"}},
		},
	}
}

// follow runs the commands of the page below "# STAGE", in folder.
func (w site) follow(folder, stage string) {
	w.t.Helper()
	root, err := repositoryRoot()
	require.NoError(w.t, err)
	page, err := os.ReadFile(filepath.Join(root, "charts", "vdi-operator", "docs", "operations.md"))
	require.NoError(w.t, err)
	_, rest, found := strings.Cut(string(page), "\n# "+stage)
	require.True(w.t, found, "the page has no commands for %q", stage)
	_, rest, _ = strings.Cut(rest, "\n")
	script, _, _ := strings.Cut(rest, "\n```")
	script, _, _ = strings.Cut(script, "\n\n")
	command := exec.CommandContext(w.ctx, "bash", "-eu", "-o", "pipefail", "-c", strings.ReplaceAll(script, "vdi-system", w.ns))
	command.Dir = folder
	command.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	require.NoError(w.t, err, "%s\n%s", script, out)
}
