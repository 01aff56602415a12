package standins_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProxyOfOthers: what the notes of an install say about a proxy that somebody brings.
func TestProxyOfOthers(t *testing.T) {
	t.Parallel()
	m := start(t)
	for _, namespace := range []string{"traefik", "gpu-operator"} {
		m.must(t, "kubectl", "create", "namespace", namespace)
	}
	m.must(t, "kubectl", "apply", "--server-side", "-f", filepath.Join(m.chart, "charts", "traefik", "crds"))
	t.Run("OldProxyIsNamed", m.oldProxyIsNamed)
	t.Run("ProxysSettingsAreNamed", m.proxysSettingsAreNamed)
}

// oldProxyIsNamed: whoever brings a proxy with a known hole reads so in the notes
// of the install, and no longer when it has been updated.
func (m machine) oldProxyIsNamed(t *testing.T) {
	install := func(helm string, settings ...string) string {
		return m.must(t, helm, "upgrade", "--install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace", "--no-hooks",
			"-f", filepath.Join(m.root, "values", "bring-your-own.yaml"), "--set", strings.Join(append(settings, "vdi-operator.sessions.domain=vdi.example.com"), ","))
	}
	for _, helm := range []string{"helm", "helm4"} {
		require.NotContains(t, install(helm), "too old", "no proxy runs")
		m.pod(t, "old", "traefik", "registry.example.com/library/traefik:v3.6.23@sha256:"+zeros)
		m.pod(t, "others", "somebody-elses", "docker.io/traefik:v3.6.0")
		said := install(helm)
		require.Contains(t, said, "WARNING: the proxy is too old: registry.example.com/library/traefik:v3.6.23@sha256:"+zeros+". ")
		require.Contains(t, said, "CVE-2026-71324")
		require.NotContains(t, said, "v3.6.0")
		require.NotContains(t, install(helm, "vdi-operator.sessions.proxy.checkVersion=false"), "too old")
		m.must(t, "kubectl", "delete", "pod", "-n", "traefik", "old", "others", "--wait")
		m.pod(t, "new", "traefik", "docker.io/traefik:v3.7.12")
		m.pod(t, "unknown", "traefik", "docker.io/traefik@sha256:"+zeros)
		m.pod(t, "product", "traefik", "registry.example.com:5000/traefik-hub:v3.0.0")
		said = install(helm)
		require.NotContains(t, said, "too old")
		require.Contains(t, said, "The proxy's image docker.io/traefik@sha256:"+zeros+" does not say its version")
		m.must(t, "kubectl", "delete", "pod", "-n", "traefik", "new", "unknown", "product", "--wait")
		m.must(t, helm, "uninstall", "vdi", "-n", "vdi-system", "--no-hooks")
	}
}

// proxysSettingsAreNamed: the notes say by what the proxy that somebody brings lets others
// at the desktops, and what they cannot know.
func (m machine) proxysSettingsAreNamed(t *testing.T) {
	said := func(args ...string) string {
		m.pod(t, "proxy", "traefik", "docker.io/traefik:v3.7.12", args...)
		out := m.must(t, "helm", "upgrade", "--install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace", "--no-hooks",
			"-f", filepath.Join(m.root, "values", "bring-your-own.yaml"), "--set", "vdi-operator.sessions.domain=vdi.example.com")
		m.must(t, "kubectl", "delete", "pod", "-n", "traefik", "proxy", "--wait")
		return out
	}
	require.Contains(t, said("--configFile=/etc/traefik.yaml"), "It is not known what the proxy reads")

	out := said("--providers.kubernetescrd", "--providers.kubernetesCRD.allowCrossNamespace=true", "--providers.kubernetesGateway=true", "--providers.kubernetesIngress=false")
	for _, want := range []string{
		"WARNING: the proxy runs with kubernetesCRD.allowCrossNamespace", "WARNING: the proxy reads what anybody writes of Gateway: add Gateway to sessions.proxy.reads",
		"without kubernetesCRD.safeNaming", "without kubernetesCRD.defaultTLSResourcesNamespace",
	} {
		require.Contains(t, out, want)
	}
	for _, not := range []string{"ExternalName", "It is not known", "writes of Ingress", "kubernetesIngress"} {
		require.NotContains(t, out, not)
	}

	out = said("--providers.kubernetescrd", "--providers.kubernetescrd.labelSelector=vdi.kasm.io/proxy=true", "--providers.kubernetescrd.allowCrossNamespace=false")
	require.NotContains(t, out, "the proxy r", "nothing is left to say")
	require.NotContains(t, out, "The proxy r")
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// pod is one that waits for a node.
func (m machine) pod(t *testing.T, name, label, image string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pod.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: traefik, labels: {app.kubernetes.io/name: %s}}
spec:
  automountServiceAccountToken: false
  containers: [{name: traefik, image: %q, args: ["%s"]}]
`, name, label, image, strings.Join(args, `", "`)), 0o600))
	require.Eventually(t, func() bool { // its account is made a moment after the namespace
		_, err := m.run(t.Context(), "kubectl", "apply", "-f", file)
		return err == nil
	}, time.Minute, 100*time.Millisecond)
}
