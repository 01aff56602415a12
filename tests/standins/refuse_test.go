package standins_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRefusedInstall: bad values end a `helm install` with one sentence that
// names the key and the remedy, and nothing of the platform is made. (Helm itself
// creates what lies in crds/ before it looks at values or templates.)
func TestRefusedInstall(t *testing.T) {
	t.Parallel()
	m := start(t)
	m.sessions(t)
	m.must(t, "kubectl", "create", "namespace", "bare")
	before := m.everything(t)
	for name, c := range map[string]struct{ set, want string }{
		"unknown key": {"vdi-operator.sessions.domian=a", "at '/sessions': additional properties 'domian' not allowed"},
		"no domain":   {"vdi-operator.sessions.domain=", "vdi-operator.sessions.domain is required: the DNS domain under which every session gets a host, e.g. vdi.example.com"},
		"no namespace": {
			"vdi-operator.portal.namespace=nowhere", "vdi-operator.portal.namespace is \"nowhere\", a namespace that does not exist: make it with `kubectl create namespace nowhere` and " +
				"`kubectl label namespace nowhere pod-security.kubernetes.io/enforce=restricted vdi.kasm.io/sessions=true` first, or leave the value empty",
		},
		"no label": {
			"vdi-operator.portal.namespace=bare", "vdi-operator.portal.namespace is \"bare\", a namespace without the label of those for sessions, and no desktop may be made there " +
				"(admission.namespaceLabel): label it with `kubectl label namespace bare vdi.kasm.io/sessions=true` first, or leave the value empty",
		},
		"slices 0": {
			`gpu-operator.enabled=true,gpu-operator.devicePlugin.config.data.any=version: v1` + "\n" + `sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu\, replicas: 0}]}}`,
			"gpu-operator.devicePlugin.config.data.any gives nvidia.com/gpu 0 replicas, which the device plugin refuses: write 2 or more slices",
		},
	} {
		for _, helm := range []string{"helm", "helm4"} {
			t.Run(name+" "+helm, func(t *testing.T) {
				out, err := m.run(t.Context(), helm, "install", "vdi", m.chart, "-n", "vdi-system", "--create-namespace",
					"-f", filepath.Join(m.root, "values", "local.yaml"), "--set", c.set)
				require.Error(t, err)
				require.Equal(t, 1, strings.Count(out, c.want), out)
				require.Equal(t, before, m.everything(t))
			})
		}
	}
	m.refusedByTheCluster(t)
}

// refusedByTheCluster: what a cluster holds already, and what it would refuse pod by pod,
// ends an install in a sentence, before anything is made.
func (m machine) refusedByTheCluster(t *testing.T) {
	t.Helper()
	local := filepath.Join(m.root, "values", "local.yaml")
	m.must(t, "kubectl", "create", "namespace", "vdi-system")
	m.must(t, "kubectl", "label", "namespace", "vdi-system", "pod-security.kubernetes.io/enforce=restricted")
	m.must(t, "kubectl", "create", "clusterrole", "gpu-operator", "--verb=get", "--resource=nodes")
	before := m.everything(t)
	install := func(set string) string {
		out, err := m.run(t.Context(), "helm4", "install", "vdi", m.chart, "-n", "vdi-system", "-f", local, "--set", set)
		require.Error(t, err, out)
		require.Equal(t, before, m.everything(t))
		return out
	}
	require.Contains(t, install("gpu-operator.enabled=true"), "gpu-operator.enabled makes privileged pods, but namespace vdi-system enforces Pod Security restricted: kubectl label namespace vdi-system pod-security.kubernetes.io/enforce=privileged --overwrite")
	m.must(t, "kubectl", "create", "clusterrole", "vdi-operator:sessions", "--verb=get", "--resource=pods")
	before = m.everything(t)
	require.Contains(t, install("vdi-operator.replicas=1"), "the ClusterRole vdi-operator:sessions is there already, and Helm did not make it: an operator that was installed in another way serves all namespaces")
	m.must(t, "kubectl", "delete", "clusterrole", "vdi-operator:sessions")
	before = m.everything(t)
	m.must(t, "kubectl", "label", "namespace", "vdi-system", "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
	require.Contains(t, install("gpu-operator.enabled=true"), `gpu-operator.enabled is on, but a GPU Operator runs in this cluster already (release "" in namespace ""): set gpu-operator.enabled=false and vdi-operator.gpuSharing.namespace=gpu-operator`)
	m.must(t, "kubectl", "delete", "clusterrole", "gpu-operator")
	m.must(t, "kubectl", "create", "configmap", "time-slicing-config", "-n", "vdi-system")
	before = m.everything(t)
	require.Contains(t, install("gpu-operator.enabled=true"), "a ConfigMap time-slicing-config is in namespace vdi-system already and is not of this release: set timeSlicing.create=false")
	m.failedCheckLeavesLittle(t)
}

// failedCheckLeavesLittle: where the first Job cannot run, as without its image, Helm's
// record and the Job are left, and the documented commands take them away without waiting.
func (m machine) failedCheckLeavesLittle(t *testing.T) {
	t.Helper()
	before := strings.Fields(m.everything(t))
	out, err := m.run(t.Context(), "helm4", "install", "vdi", filepath.Join(m.chart, "charts", "vdi-operator"), "-n", "vdi-system",
		"--set", "sessions.domain=vdi.example.com,hooks.deadline=20s", "--timeout", "1m")
	require.Error(t, err, out)
	require.Contains(t, out, "vdi-vdi-operator-check-is-image-pullable not ready. status: Failed")
	left := slices.DeleteFunc(strings.Fields(m.everything(t)), func(name string) bool { return slices.Contains(before, name) })
	require.ElementsMatch(t, []string{"job.batch/vdi-vdi-operator-check-is-image-pullable", "secret/sh.helm.release.v1.vdi.v1"}, left)
	m.must(t, "helm4", "uninstall", "vdi", "-n", "vdi-system", "--no-hooks")
	m.must(t, "kubectl", "delete", "job", "-n", "vdi-system", "-l", "app.kubernetes.io/part-of=vdi-platform")
	require.ElementsMatch(t, before, strings.Fields(m.everything(t)))
}

// everything an install would make, less the Events that Kubernetes writes by itself.
func (m machine) everything(t *testing.T) string {
	t.Helper()
	return m.must(t, "kubectl", "get", "namespaces,serviceaccounts,secrets,services,deployments,daemonsets,jobs,configmaps,"+
		"poddisruptionbudgets,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings", "--all-namespaces", "-o", "name")
}
