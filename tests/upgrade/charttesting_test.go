package upgrade

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/install"
)

// TestChartTesting installs the charts with each of their ci values, as `ct
// install` does: their pods run, `helm test` passes, and all of it goes again.
// Only what a machine without registry and cloud cannot have is replaced:
// images, a load balancer, an external address. It comes before the other tests
// and leaves a cluster without our kinds.
func TestChartTesting(t *testing.T) {
	t.Run("vdi-operator", func(t *testing.T) {
		namespaces := []string{"ct-operator", "team-a", "team-b", "gpu-operator"} // the latter of namespaced and everything
		for _, namespace := range namespaces {
			w.must(t, "kubectl", "create", "namespace", namespace)
		}
		chartTesting(t, "vdi-operator", "ct-operator",
			"sessions.proxy.namespace="+install.Namespace, "sessions.proxy.service=vdi-traefik", "sessions.proxy.port=8443",
			"image.repository=docker.io/vdi-platform/vdi-operator", "image.tag=dev", "image.digest=", "image.pullPolicy=IfNotPresent")
		w.must(t, "kubectl", append([]string{"delete", "namespace", "--wait=false"}, namespaces...)...)
		w.must(t, "kubectl", "delete", "crd", "vdiquotas.vdi.kasm.io", "vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io", "vdiusages.vdi.kasm.io") // which Helm keeps
	})
	t.Run("coturn", func(t *testing.T) {
		const namespace = "ct-relay"
		w.must(t, "kubectl", "create", "namespace", namespace)
		w.must(t, "kubectl", "create", "secret", "generic", "turn", "-n", namespace, "--from-literal=current="+strings.Repeat("c0ffee", 10))
		certificate(t, namespace, "turn-tls")
		w.must(t, "kubectl", "label", "node", w.Cluster.NodeName(), "example.com/relay=true")
		chartTesting(t, "coturn", namespace,
			"image.repository=docker.io/vdi-platform/relay", "image.tag=dev", "image.digest=", "image.pullPolicy=IfNotPresent",
			"tool.image.repository=docker.io/vdi-platform/vdi-operator", "tool.image.tag=dev", "tool.image.pullPolicy=IfNotPresent",
			"metrics.enabled=false", "extraArgs=null", // Debian's 4.6.1 has neither
			"service.type=ClusterIP", "address.externalFrom=Pod")
		w.must(t, "kubectl", "delete", "namespace", namespace, "--wait=false")
	})
}

// chartTesting runs the real ct in a namespace that is there.
func chartTesting(t *testing.T, chart, namespace string, values ...string) {
	t.Helper()
	args := []string{
		"install", "--config", "ct.yaml", "--charts", "charts/" + chart, "--namespace", namespace,
		"--helm-extra-args", "--timeout 3m", "--helm-extra-set-args", "--set=" + strings.Join(values, ","),
	}
	command := exec.CommandContext(t.Context(), filepath.Join(w.root, "bin", "ct"), args...)
	command.Dir = w.root
	command.Env = append(os.Environ(), "KUBECONFIG="+w.Cluster.KubeconfigPath(), "PATH="+filepath.Join(w.root, "bin")+":"+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	files, err := filepath.Glob(filepath.Join(w.root, "charts", chart, "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		require.Contains(t, string(out), `Installing chart with values file "charts/`+chart+"/ci/"+filepath.Base(file)+`"`)
	}
}

// certificate copies the proxy's TLS Secret: any one will do to start a relay.
func certificate(t *testing.T, namespace, name string) {
	t.Helper()
	dir := t.TempDir()
	for _, key := range []string{"tls.crt", "tls.key"} {
		template := `{{index .data "` + key + `" | base64decode}}`
		text := w.must(t, "kubectl", "get", "secret", "vdi-wildcard", "-n", install.Namespace, "-o", "go-template="+template)
		require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(text), 0o600))
	}
	w.must(t, "kubectl", "create", "secret", "tls", name, "-n", namespace, "--cert", filepath.Join(dir, "tls.crt"), "--key", filepath.Join(dir, "tls.key"))
}
