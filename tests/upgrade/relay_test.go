package upgrade

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/relay/visitor"
)

const turnNamespace = "vdi-turn"

// debianRelay are the values for Debian's coturn, which has no metrics.
func debianRelay() []string {
	return []string{
		"--set", "realm=turn.vdi.example.com",
		"--set", "image.repository=docker.io/vdi-platform/relay,image.tag=dev,metrics.enabled=false",
		"--set", "tool.image.repository=docker.io/vdi-platform/vdi-operator,tool.image.tag=dev",
	}
}

// TestRelay is the relay's life on the node's own network: the hook makes the
// secret, two users meet at the node's address, and what they were given stays
// valid through an upgrade and a reinstall.
func TestRelay(t *testing.T) {
	w.must(t, "kubectl", "create", "namespace", turnNamespace)
	w.must(t, "kubectl", "label", "namespace", turnNamespace, "pod-security.kubernetes.io/enforce=privileged")
	node := visitor.Path{From: w.Cluster.HostIP().String(), Relay: w.Cluster.NodeIP().String()}

	relay(t, "helm", "install")
	noJobsLeft(t, turnNamespace)
	first := turnSecret(t)
	alice, bob := credential(first, "alice"), credential(first, "bob")
	node.Meet(t, alice, bob)
	_, _, err := node.Allocate(t, visitor.Signed("a guess", "mallory", time.Now().Add(time.Hour)))
	require.ErrorContains(t, err, "401")

	t.Run("an upgrade keeps the secret", func(t *testing.T) {
		relay(t, "helm4", "upgrade", "--set", "limits.allocations=500")
		assert.Equal(t, first.ResourceVersion, turnSecret(t).ResourceVersion)
		node.Meet(t, alice, bob)
	})
	t.Run("so does a reinstall", func(t *testing.T) {
		w.must(t, "helm4", "uninstall", install.Release, "-n", turnNamespace, "--wait", "--timeout", "2m")
		assert.Equal(t, first.UID, turnSecret(t).UID, "Helm never removes it")
		// Helm 4 waits for the Deployment, not for its pods.
		w.must(t, "kubectl", "wait", "--for=delete", "pod", "--all", "-n", turnNamespace, "--timeout=1m")
		relay(t, "helm4", "install")
		assert.Equal(t, first.UID, turnSecret(t).UID)
		node.Meet(t, alice, bob)
	})
	t.Run("a lost secret is replaced as the chart's README says", func(t *testing.T) {
		w.must(t, "kubectl", "delete", "secret", "vdi-coturn-secret", "-n", turnNamespace)
		node.Meet(t, alice, bob) // the running relay has its own copy

		w.must(t, "helm", "upgrade", install.Release, filepath.Join(w.root, "charts", "coturn"), "-n", turnNamespace, "--reuse-values")
		w.must(t, "kubectl", "rollout", "restart", "-n", turnNamespace, "deployment/vdi-coturn")
		w.must(t, "kubectl", "rollout", "status", "-n", turnNamespace, "deployment/vdi-coturn", "--timeout=2m")
		second := turnSecret(t)
		require.NotEqual(t, first.Data["current"], second.Data["current"])
		node.Meet(t, credential(second, "alice"), credential(second, "bob"))
		_, _, err := node.Allocate(t, alice)
		require.ErrorContains(t, err, "401", "what the lost secret signed is worthless")
	})
	w.must(t, "helm", "uninstall", install.Release, "-n", turnNamespace, "--wait", "--timeout", "2m")
	w.must(t, "kubectl", "delete", "namespace", turnNamespace, "--wait=false")
}

func relay(t *testing.T, helm, verb string, more ...string) {
	t.Helper()
	args := []string{verb, install.Release, filepath.Join(w.root, "charts", "coturn"), "-n", turnNamespace, "--wait", "--timeout", "3m"}
	w.must(t, helm, slices.Concat(args, debianRelay(), more)...)
}

func turnSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	found := &corev1.Secret{}
	require.NoError(t, w.Client.Get(t.Context(), client.ObjectKey{Namespace: turnNamespace, Name: "vdi-coturn-secret"}, found))
	require.Regexp(t, "^[0-9a-f]{64}$", string(found.Data["current"]))
	return found
}

func credential(secret *corev1.Secret, id string) visitor.Credential {
	return visitor.Signed(string(secret.Data["current"]), id, time.Now().Add(time.Hour))
}
