package standins_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/operator/maintain"
)

// session is one that an operator served, and that somebody else looks after too.
const session = `
apiVersion: vdi.kasm.io/v1alpha1
kind: VDISession
metadata:
  name: alice
  namespace: default
  finalizers: [vdi.kasm.io/session-cleanup, example.com/other]
spec: {user: alice, template: plain}
`

// leaseOf is the leader's lease, fresh for an hour.
func leaseOf(holder string) string {
	return `
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: vdi-operator, namespace: vdi-system}
spec: {holderIdentity: "` + holder + `", leaseDurationSeconds: 3600, leaseTransitions: 1,
  acquireTime: "2026-01-01T00:00:00.000000Z", renewTime: "2026-01-01T00:00:00.000000Z"}
`
}

func (m machine) apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object.yaml")
	require.NoError(t, os.WriteFile(file, []byte(manifest), 0o600))
	m.must(t, "kubectl", "apply", "-f", file)
}

// environment is of whoever runs a command in this process: the tests run at once.
var environment sync.Mutex

// maintain runs a command of the operator's image.
func (m machine) maintain(t *testing.T, args ...string) (string, error) {
	t.Helper()
	environment.Lock()
	defer environment.Unlock()
	require.NoError(t, os.Setenv("KUBECONFIG", m.kubeconfig))
	out := &bytes.Buffer{}
	err := maintain.Run(t.Context(), args, "vdi-system", out)
	return out.String(), err
}

// TestUninstallBesideAnotherLeader: while somebody else leads, nothing is let
// go, and the operator is started again; afterwards only our finalizer goes.
func TestUninstallBesideAnotherLeader(t *testing.T) {
	t.Parallel()
	m := start(t)
	m.must(t, "helm", "install", "vdi-operator", filepath.Join(m.chart, "charts", "vdi-operator"), "-n", "vdi-system", "--create-namespace", "--no-hooks", "--set", "sessions.domain=vdi.example.com", "--set", "replicas=2")
	m.must(t, "kubectl", "label", "namespace", "default", "vdi.kasm.io/sessions=true") // the policies may be in force already
	m.apply(t, session)
	finalizers := func() string {
		return m.must(t, "kubectl", "get", "vdi", "alice", "-o", "jsonpath={.metadata.finalizers}")
	}
	replicas := func() string {
		return m.must(t, "kubectl", "get", "deployment", "vdi-operator", "-n", "vdi-system", "-o", "jsonpath={.spec.replicas}")
	}

	m.apply(t, leaseOf("somebody"))
	out, err := m.maintain(t, "uninstall", "--force", "--timeout=6s")
	require.ErrorContains(t, err, "the leader's lease was not to be had")
	assert.Equal(t, "2", replicas(), out)
	assert.Contains(t, finalizers(), "vdi.kasm.io/session-cleanup")

	m.apply(t, leaseOf(""))
	out, err = m.maintain(t, "uninstall", "--force", "--timeout=1m")
	require.NoError(t, err)
	assert.Contains(t, out, "let go of session default/alice")
	assert.Equal(t, `["example.com/other"]`, finalizers())
	assert.Equal(t, "0", replicas())

	out, err = m.maintain(t, "uninstall", "--force")
	require.NoError(t, err, "it may be run again")
	assert.NotContains(t, out, "let go")
}

// TestMaintainEmptyCluster: one that knows neither our kinds nor the proxy's, in this order.
func TestMaintainEmptyCluster(t *testing.T) {
	t.Parallel()
	m := start(t)
	t.Run("RoutesLabelWithoutTraefik", m.routesLabelWithoutTraefik)
	t.Run("CRDsApply", m.crdsApply)
	t.Run("TemplatesApply", m.templatesApply)
}

// crdsApply: a CRD that is gone or old comes back, and a second time changes
// nothing.
func (m machine) crdsApply(t *testing.T) {
	out, err := m.maintain(t, "crds", "apply")
	require.NoError(t, err)
	assert.Equal(t, "applied CRD vdiquotas.vdi.kasm.io\napplied CRD vdisessions.vdi.kasm.io\napplied CRD vditemplates.vdi.kasm.io\napplied CRD vdiusages.vdi.kasm.io\n", out)
	version := func() string {
		return m.must(t, "kubectl", "get", "crd", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	}
	before := version()
	_, err = m.maintain(t, "crds", "apply")
	require.NoError(t, err)
	assert.Equal(t, before, version())
	// The API server serves a new kind's documentation a moment after the kind.
	require.Eventually(t, func() bool {
		_, err := m.run(t.Context(), "kubectl", "explain", "vdisession.spec.user")
		return err == nil
	}, time.Minute, 200*time.Millisecond)
}

// templatesApply: what leaves the values' spec leaves the template, what
// leaves the values stays, and what others set stays too.
func (m machine) templatesApply(t *testing.T) {
	_, err := m.maintain(t, "crds", "apply")
	require.NoError(t, err)
	dir := t.TempDir()
	apply := func(templates string) error {
		for name, text := range map[string]string{"config.yaml": "sessions: {domain: vdi.example.com}", "templates.yaml": templates} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		_, err := m.maintain(t, "templates", "apply", "--config="+filepath.Join(dir, "config.yaml"), "--templates="+filepath.Join(dir, "templates.yaml"))
		return err
	}
	description := func() string {
		return m.must(t, "kubectl", "get", "vditemplate", "plain", "-o", "jsonpath={.spec.image} {.spec.displayName} {.spec.description}")
	}
	require.NoError(t, apply("{plain: {image: a, displayName: A}, other: {image: b}}"))
	m.must(t, "kubectl", "patch", "vditemplate", "plain", "--type", "merge", "-p", `{"spec":{"description":"by hand","image":"by-hand"}}`)
	require.NoError(t, apply("{plain: {image: a}}"))
	assert.Equal(t, "a  by hand", description())
	m.must(t, "kubectl", "get", "vditemplate", "other")

	err = apply("{Plain_: {image: a}}")
	require.ErrorIs(t, err, maintain.ErrRefused)
	require.ErrorContains(t, err, "templates.Plain_: ")
}

// TestUpgradeCheck: on an empty cluster nothing is found; what would be refused stops
// the upgrade, and what is confirmed does not.
func TestUpgradeCheck(t *testing.T) {
	t.Parallel()
	m := start(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("sessions: {domain: vdi.example.com, network: {deniedRanges: [203.0.113.0/24]}}"), 0o600))
	check := func(more ...string) (string, error) {
		return m.maintain(t, append([]string{
			"check", "upgrade", "--settings=vdi-operator-config", "--config=" + filepath.Join(dir, "config.yaml"), "--templates=" + filepath.Join(dir, "templates.yaml"),
		}, more...)...)
	}
	_, err := check()
	require.NoError(t, err, "there are no kinds yet")

	m.must(t, "helm4", "install", "vdi-operator", filepath.Join(m.chart, "charts", "vdi-operator"), "-n", "vdi-system", "--create-namespace", "--no-hooks",
		"--set", "sessions.domain=vdi.example.com", "--set", "sessions.network.deniedRanges={203.0.113.0/24}")
	out, err := check()
	require.NoError(t, err, "this version's own settings add: %s", out)
	m.must(t, "kubectl", "annotate", "configmap", "-n", "vdi-system", "vdi-operator-config", "vdi.kasm.io/settings-version-") // as an earlier version left it
	m.apply(t, `
apiVersion: vdi.kasm.io/v1alpha1
kind: VDITemplate
metadata: {name: noted}
spec: {image: a, values: {pod: {annotations: {example.com/note: b}}}}
`)
	out, err = check()
	require.ErrorIs(t, err, maintain.ErrRefused)
	require.ErrorContains(t, err, "{template/noted,network/deniedRanges}")
	assert.Contains(t, out, "template/noted: no session could start from the template any more")
	out, err = check("--confirmed=template/noted,network/deniedRanges")
	require.NoError(t, err)
	assert.Contains(t, out, "warning, confirmed: template/noted: ")
}
