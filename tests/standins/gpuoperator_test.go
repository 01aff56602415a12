package standins_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInstallWithGPUOperator: both helms install the ClusterPolicy together with
// its kind, an upgrade changes the configuration alone, and the operator may
// restart the device plugin but not change what the GPU Operator's values say.
func TestInstallWithGPUOperator(t *testing.T) {
	t.Parallel()
	m := start(t)
	args := []string{"vdi", m.chart, "-n", "vdi-system", "-f", filepath.Join(m.root, "values", "local.yaml"), "--set", "gpu-operator.enabled=true", "--set", "vdi-operator.gpuSharing.enabled=true", "--set", fewestRights}
	slices := filepath.Join(t.TempDir(), "slices.yaml")
	require.NoError(t, os.WriteFile(slices, []byte("gpu-operator: {devicePlugin: {config: {data: {any: \"version: v1\"}}}}"), 0o600))
	for _, helm := range []string{"helm", "helm4"} {
		m.must(t, helm, append([]string{"install", "--create-namespace", "--no-hooks"}, args...)...)
		require.Equal(t, "time-slicing-config any", m.must(t, "kubectl", "get", "clusterpolicy", "cluster-policy", "-o",
			"jsonpath={.spec.devicePlugin.config.name} {.spec.devicePlugin.config.default}"))
		m.must(t, "kubectl", "patch", "daemonset", "-n", "vdi-system", "nvidia-device-plugin-daemonset", "--type=merge", "--field-manager=vdi-operator",
			"-p", `{"spec":{"template":{"metadata":{"annotations":{"vdi.kasm.io/gpu-sharing-config":"1"}}}}}`)
		m.must(t, helm, append([]string{"upgrade", "--no-hooks", "-f", slices}, args...)...)
		require.Equal(t, "version: v1 1", m.must(t, "kubectl", "get", "configmap", "-n", "vdi-system", "time-slicing-config", "-o", "jsonpath={.data.any}")+" "+
			m.must(t, "kubectl", "get", "daemonset", "-n", "vdi-system", "nvidia-device-plugin-daemonset", "-o", `jsonpath={.spec.template.metadata.annotations.vdi\.kasm\.io/gpu-sharing-config}`),
			"an upgrade keeps the record of what the plugin was started with")
		m.requireSharingRights(t)
		m.must(t, helm, "uninstall", "vdi", "-n", "vdi-system", "--wait", "--no-hooks")
	}
}

const account = "system:serviceaccount:vdi-system:vdi-operator"

func (m machine) requireSharingRights(t *testing.T) {
	t.Helper()
	for question, want := range map[[2]string]string{
		{"watch", "nodes"}:                      "yes",
		{"patch", "nodes"}:                      "no",
		{"watch", "clusterpolicies"}:            "yes",
		{"patch", "clusterpolicies"}:            "no",
		{"patch", "daemonsets/other"}:           "no",
		{"delete", "daemonsets"}:                "no",
		{"get", "configmaps/other"}:             "no", // no host claims: hosts have an {id}
		{"list", "configmaps"}:                  "no",
		{"patch", "configmaps"}:                 "no",
		{"watch", "customresourcedefinitions"}:  "no", // by name only
		{"patch", "daemonsets/" + pluginDaemon}: "yes",
	} {
		out, _ := m.run(t.Context(), "kubectl", "auth", "can-i", question[0], question[1], "-n", "vdi-system", "-q=false", "--as", account)
		require.Regexp(t, "(?m)^"+want+"$", out, fmt.Sprint(question))
	}
}

const pluginDaemon = "nvidia-device-plugin-daemonset"
