package standins_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRefusedInstall: bad values end a `helm install` with one sentence that
// names the key and the remedy, and nothing of the platform is made. (Helm itself
// creates what lies in crds/ before it looks at values or templates.)
func TestRefusedInstall(t *testing.T) {
	m := start(t)
	before := m.everything(t)
	for name, c := range map[string]struct{ set, want string }{
		"unknown key": {"vdi-operator.sessions.domian=a", "at '/sessions': additional properties 'domian' not allowed"},
		"no domain":   {"vdi-operator.sessions.domain=", "vdi-operator.sessions.domain is required: the DNS domain under which every session gets a host, e.g. vdi.example.com"},
		"replicas 0":  {"vdi-operator.replicas=0", "vdi-operator.replicas is 0: nothing would serve sessions; set it to 1 or more"},
		"slices 0": {
			`gpu-operator.enabled=true,gpu-operator.devicePlugin.config.data.any=version: v1` + "\n" + `sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu\, replicas: 0}]}}`,
			"gpu-operator.devicePlugin.config.data.any gives nvidia.com/gpu 0 replicas, which the device plugin refuses: write 2 or more slices",
		},
		"two ways to TLS": {"vdi-operator.sessions.tls.secretName=a", "vdi-operator.sessions.tls.secretName is set, but sessions.tls.mode is Wildcard, which ignores it: set the mode to Secret"},
		"half of OIDC":    {"vdi-operator.access.mode=OIDC", "vdi-operator.access.oidc.issuerURL is required when access.mode is OIDC: the URL of your identity provider"},
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
}

// everything an install would make, less the Events that Kubernetes writes by itself.
func (m machine) everything(t *testing.T) string {
	t.Helper()
	return m.must(t, "kubectl", "get", "namespaces,serviceaccounts,secrets,services,deployments,daemonsets,jobs,configmaps,"+
		"poddisruptionbudgets,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings", "--all-namespaces", "-o", "name")
}
