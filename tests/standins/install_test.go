package standins_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/maintain"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// machine is an API server and the programs that people use with it. It runs no
// pods: what is tested is that both helms and the API server take the charts.
type machine struct {
	root       string
	chart      string
	kubeconfig string
}

func start(t *testing.T) machine {
	t.Helper()
	root, err := standins.RepositoryRoot()
	require.NoError(t, err)
	for _, name := range []string{"helm", "helm4"} {
		require.FileExists(t, filepath.Join(root, "bin", name), "run `make bin/%s`", name)
	}
	chart, err := standins.Assemble(t.Context(), t.TempDir())
	require.NoError(t, err)
	plane, err := cluster.StartControlPlane(t.Context(), cluster.ControlPlaneOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plane.Stop()) })
	return machine{root: root, chart: chart, kubeconfig: plane.Kubeconfig()}
}

func (m machine) run(ctx context.Context, program string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(m.root, "bin", program), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+m.kubeconfig)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (m machine) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := m.run(t.Context(), program, args...)
	require.NoError(t, err, "%s %v: %s", program, args, out)
	return out
}

// sessions makes the namespace in which people make desktops, as the profile for one machine
// says.
func (m machine) sessions(t *testing.T) {
	t.Helper()
	m.must(t, "kubectl", "create", "namespace", install.Sessions)
	m.must(t, "kubectl", "label", "namespace", install.Sessions, "pod-security.kubernetes.io/enforce=restricted", "vdi.kasm.io/sessions=true")
}

// fewestRights: in the other access modes the operator hands the front door's keys to
// sessions, in ConfigMaps.
const fewestRights = "vdi-operator.access.mode=Password,vdi-operator.portal.namespace="

// TestInstall installs, changes and removes the assembled umbrella with both
// helms. The user's objects outlive it.
func TestInstall(t *testing.T) {
	t.Parallel()
	m := start(t)
	local := filepath.Join(m.root, "values", "local.yaml")
	for _, helm := range []string{"helm", "helm4"} {
		// Hooks are Jobs, and nothing runs pods here: tests/upgrade shows them.
		m.must(t, helm, "install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace", "-f", local, "--set", fewestRights, "--no-hooks")
		m.must(t, "kubectl", "apply", "-f", filepath.Join(m.root, "values", "templates"))
		m.must(t, helm, "upgrade", "vdi", m.chart, "-n", "vdi-system", "-f", local, "--set", "vdi-operator.replicas=2", "--set", fewestRights, "--no-hooks")
		m.must(t, "kubectl", "get", "-n", "vdi-system", "tlsstores.traefik.io/default", "pdb/vdi-operator", "service/vdi-traefik", "service/vdi-frontdoor", "ingressroute/vdi-frontdoor")
		m.requireRights(t)
		m.requireNoRightsOfAFailedHook(t, helm)
		m.must(t, helm, "uninstall", "vdi", "-n", "vdi-system", "--wait", "--no-hooks")
		m.must(t, "kubectl", "get", "vditemplate", "plain-desktop")
	}
}

// requireNoRightsOfAFailedHook fails an uninstall by its Job, which nothing runs here:
// what the Job was allowed goes with the failure. What the Job would do, it does only then:
// its command knows the release of the first revision, as after a rollback.
func (m machine) requireNoRightsOfAFailedHook(t *testing.T, helm string) {
	t.Helper()
	uninstall := []string{"uninstall", "--release=vdi", "--revision=1"}
	_, err := m.maintain(t, uninstall...)
	require.ErrorIs(t, err, maintain.ErrRefused)
	require.ErrorContains(t, err, "no Secret sh.helm.release.v1.vdi.v1 says that the release is being uninstalled")
	out, err := m.run(t.Context(), helm, "uninstall", "vdi", "-n", "vdi-system", "--timeout", "1s")
	require.Error(t, err, out)
	m.must(t, "kubectl", "get", "job", "vdi-operator-uninstall", "-n", "vdi-system") // it stays to be looked at
	left := m.must(t, "kubectl", "get", "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts", "-A", "-o", "name")
	require.Contains(t, left, "vdi-operator")
	require.NotContains(t, left, "uninstall", helm)
	m.must(t, "kubectl", "delete", "job", "vdi-operator-uninstall", "-n", "vdi-system")
	said, err := m.maintain(t, uninstall...)
	require.NoError(t, err, helm)
	require.Contains(t, said, "the operator has stopped")
}

// requireRights asks the API server what the operator may do.
func (m machine) requireRights(t *testing.T) {
	t.Helper()
	for question, want := range map[[2]string]string{
		{"create", "pods"}:                     "yes",
		{"patch", "vdisessions/status"}:        "yes",
		{"get", "secrets"}:                     "no",
		{"patch", "secrets"}:                   "no",
		{"update", "secrets"}:                  "yes", // its own, says an admission policy
		{"list", "secrets"}:                    "no",
		{"watch", "secrets"}:                   "no",
		{"update", "pods"}:                     "no",
		{"create", "vdisessions"}:              "no",
		{"create", "clusterroles"}:             "no",
		{"create", "vditemplates"}:             "no",
		{"delete", "nodes"}:                    "no",
		{"get", "configmaps"}:                  "no", // only in the release namespace
		{"update", "leases"}:                   "no", // only its own, and only there
		{"patch", "customresourcedefinitions"}: "no",
	} {
		// can-i exits with 1 for "no"; the word tells it from a failure.
		out, _ := m.run(t.Context(), "kubectl", "auth", "can-i", question[0], question[1], "-n", "default", "-q=false",
			"--as", "system:serviceaccount:vdi-system:vdi-operator")
		require.Regexp(t, "(?m)^"+want+"$", out, "%v", question)
	}
}

// TestPortalInstall: with the profile for one machine the front door may make and delete
// sessions in the one namespace in which people make theirs, and reads what is on offer.
func TestPortalInstall(t *testing.T) {
	t.Parallel()
	m := start(t)
	m.sessions(t)
	m.must(t, "helm", "install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace", "--no-hooks", "-f", filepath.Join(m.root, "values", "local.yaml"))
	for question, want := range map[[3]string]string{
		{"create", "vdisessions", install.Sessions}:            "yes",
		{"delete", "vdisessions", install.Sessions}:            "yes",
		{"patch", "vdisessions", install.Sessions}:             "yes",
		{"update", "vdisessions", install.Sessions}:            "no",
		{"deletecollection", "vdisessions", install.Sessions}:  "no",
		{"manage", "vdisessions", install.Sessions}:            "no",
		{"get", "secrets", install.Sessions}:                   "no",
		{"create", "vdisessions", "default"}:                   "no",
		{"delete", "vdisessions", "default"}:                   "no",
		{"patch", "vdisessions", "default"}:                    "yes", // what its policies let it
		{"watch", "vditemplates", "default"}:                   "yes",
		{"create", "vditemplates", "default"}:                  "no",
		{"watch", "vdiquotas", "default"}:                      "yes",
		{"patch", "vdiquotas", "default"}:                      "no",
		{"watch", "vdiusages", "default"}:                      "yes",
		{"patch", "persistentvolumeclaims", install.Sessions}:  "yes", // what its policy lets it
		{"delete", "persistentvolumeclaims", install.Sessions}: "no",
		{"watch", "persistentvolumeclaims", "default"}:         "no",
	} {
		out, _ := m.run(t.Context(), "kubectl", "auth", "can-i", question[0], question[1], "-n", question[2], "-q=false", "--as", "system:serviceaccount:vdi-system:vdi-frontdoor")
		require.Regexp(t, "(?m)^"+want+"$", out, "%v", question)
	}
}

// TestNamespacedInstall: limited to some namespaces, the operator may do nothing
// elsewhere, and the namespaces must be there first.
func TestNamespacedInstall(t *testing.T) {
	t.Parallel()
	m := start(t)
	args := []string{"install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace", "--no-hooks", "-f", filepath.Join(m.root, "values", "local.yaml"), "--set", "vdi-operator.watchNamespaces={team-a},vdi-operator.portal.namespace="}
	out, err := m.run(t.Context(), "helm", args...)
	require.Error(t, err)
	require.Contains(t, out, `namespaces "team-a" not found`)
	m.must(t, "helm", "uninstall", "vdi", "-n", "vdi-system", "--no-hooks")

	m.must(t, "kubectl", "create", "namespace", "team-a")
	m.must(t, "helm", args...)
	mayCreatePods := func(namespace string) string {
		out, _ := m.run(t.Context(), "kubectl", "auth", "can-i", "create", "pods", "-n", namespace, "--as", "system:serviceaccount:vdi-system:vdi-operator")
		return out
	}
	require.Equal(t, "yes\n", mayCreatePods("team-a"))
	require.Equal(t, "no\n", mayCreatePods("team-b"))
}

// TestSecondInstall: two operators never serve the same sessions, and those
// that serve different namespaces get along.
func TestSecondInstall(t *testing.T) {
	t.Parallel()
	m := start(t)
	chart := filepath.Join(m.chart, "charts", "vdi-operator")
	install := func(name, namespaces string, more ...string) (string, error) {
		return m.run(t.Context(), "helm4", append([]string{
			"install", name, chart, "-n", name, "--create-namespace", "--no-hooks",
			"--set", "sessions.domain=" + name + ".example.com", "--set", "watchNamespaces={" + namespaces + "}",
		}, more...)...)
	}
	for _, namespace := range []string{"team-a", "team-b"} {
		m.must(t, "kubectl", "create", "namespace", namespace)
	}
	out, err := install("first", "team-a")
	require.NoError(t, err, out)
	out, err = install("second", "team-b")
	require.Error(t, err)
	require.Contains(t, out, `tenancy.roles.create is on, but release "first" in namespace "first" made the ClusterRoles`)
	out, err = install("second", "team-b", "--set", "tenancy.roles.create=false")
	require.NoError(t, err, out)
	out, err = install("third", "team-b")
	require.Error(t, err)
	require.Contains(t, out, `release "second" in namespace "second" already serves namespace team-b, and two operators must not act on the same sessions`)
}
