package standins_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// routesOfBefore are what an earlier version made, what an administrator put beside it,
// and what is none of ours.
const routesOfBefore = `
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata:
  {name: alice, namespace: team-a, labels: {app.kubernetes.io/name: vdi-session, app.kubernetes.io/instance: alice, app.kubernetes.io/managed-by: vdi-operator}}
spec:
  routes:
    - {kind: Rule, match: "Host(` + "`alice.vdi.localhost`" + `)", middlewares: [{name: limits}, {name: team-a-named@kubernetescrd}, {name: from@file}], services: [{name: alice, port: 8080}]}
  tls: {options: {name: modern}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata:
  {name: alice-forward-auth, namespace: team-a, labels: {app.kubernetes.io/name: vdi-session, app.kubernetes.io/instance: alice, app.kubernetes.io/managed-by: vdi-operator}}
spec: {stripPrefix: {}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: limits, namespace: team-a}
spec: {chain: {middlewares: [{name: inner}]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: inner, namespace: team-a}
spec: {chain: {middlewares: [{name: limits}]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: named, namespace: team-a}
spec: {stripPrefix: {}}
---
apiVersion: traefik.io/v1alpha1
kind: TLSOption
metadata: {name: modern, namespace: team-a}
spec: {minVersion: VersionTLS13}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: unused, namespace: team-a}
spec: {stripPrefix: {}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: web, namespace: web}
spec:
  routes: [{kind: Rule, match: "Host(` + "`app.example.org`" + `)", middlewares: [{name: limits}], services: [{name: web, port: 80}]}]
`

// TestRoutesLabel: with the rights of its Job and under the policies, the command before
// an upgrade labels what the proxy has to read, writes nothing else, and a second time
// nothing at all.
func TestRoutesLabel(t *testing.T) {
	t.Parallel()
	m := start(t)
	local := filepath.Join(m.root, "values", "local.yaml")
	m.must(t, "kubectl", "create", "namespace", "vdi-system")
	for _, namespace := range []string{"team-a", "web"} {
		m.must(t, "kubectl", "create", "namespace", namespace)
	}
	m.sessions(t)
	m.must(t, "kubectl", "label", "namespace", "team-a", "vdi.kasm.io/sessions=true")
	m.must(t, "helm", "install", "vdi", m.chart, "-n", "vdi-system", "-f", local, "--no-hooks")
	m.apply(t, routesOfBefore)
	const own = "ingressroute/vdi-frontdoor tlsstore/default"
	for _, name := range strings.Fields(own) {
		m.must(t, "kubectl", "label", "-n", "vdi-system", name, "vdi.kasm.io/proxy-")
	}
	labelled := func() []string {
		out := m.must(t, "kubectl", "get", "ingressroutes,middlewares,tlsoptions,tlsstores", "-A", "-l", "vdi.kasm.io/proxy=true",
			"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
		return strings.Fields(out)
	}
	specs := func() string {
		return m.must(t, "kubectl", "get", "ingressroutes,middlewares,tlsoptions,tlsstores", "-A", "-o", `jsonpath={range .items[*]}{.metadata.name}{.metadata.generation}{.spec}{end}`)
	}
	require.Empty(t, labelled())
	before := specs()

	m = m.asHook(t, local)
	out, err := m.maintain(t, "routes", "label", "--release=vdi", "--timeout=1m")
	require.NoError(t, err, out)
	assert.ElementsMatch(t, []string{
		"IngressRoute/team-a/alice", "Middleware/team-a/alice-forward-auth", "Middleware/team-a/limits", "Middleware/team-a/inner",
		"Middleware/team-a/named", "TLSOption/team-a/modern", "IngressRoute/vdi-system/vdi-frontdoor", "TLSStore/vdi-system/default",
	}, labelled())
	assert.Equal(t, before, specs())
	assert.Contains(t, out, "labelled IngressRoute team-a/alice")
	assert.Contains(t, out, "every route of the platform has the label vdi.kasm.io/proxy=true; 8 had to get it")

	out, err = m.maintain(t, "routes", "label", "--release=vdi")
	require.NoError(t, err)
	assert.Equal(t, "every route of the platform has the label vdi.kasm.io/proxy=true; 0 had to get it\n", out)

	_, err = m.run(t.Context(), "kubectl", "delete", "-n", "team-a", "ingressroute/alice")
	require.Error(t, err, "it may label, and nothing else")
}

// routesLabelWithoutTraefik: where the proxy's kinds are not installed there is nothing to label.
func (m machine) routesLabelWithoutTraefik(t *testing.T) {
	out, err := m.maintain(t, "routes", "label", "--release=vdi")
	require.NoError(t, err)
	assert.Contains(t, out, "0 had to get it")
}

// asHook is the machine with the rights of the Job that Helm runs before an upgrade.
func (m machine) asHook(t *testing.T, values string) machine {
	t.Helper()
	rendered := m.must(t, "helm", "template", "vdi", m.chart, "-n", "vdi-system", "-f", values, "--kube-version", "1.37.2", "-s", "charts/vdi-operator/templates/hooks/routes.yaml")
	rights, _, found := strings.Cut(rendered, "apiVersion: batch/v1")
	require.True(t, found)
	m.apply(t, rights)
	token := strings.TrimSpace(m.must(t, "kubectl", "create", "token", "-n", "vdi-system", "vdi-operator-routes"))
	text, err := os.ReadFile(m.kubeconfig)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "hook.kubeconfig")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	hook := m
	hook.kubeconfig = file
	hook.must(t, "kubectl", "config", "set-credentials", "hook", "--token="+token)
	hook.must(t, "kubectl", "config", "set-context", "--current", "--user=hook")
	return hook
}
