package charts

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform"
)

const sharingRole = "vdi-system-vdi-operator-gpu-sharing"

// TestSharingByTheGPUOperator (mode A): a fresh install is sliced by the GPU
// Operator's own values, and ours reads what they made.
func TestSharingByTheGPUOperator(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(nil))
	config := find[corev1.ConfigMap](t, objs, "ConfigMap", "time-slicing-config")
	require.Equal(t, releaseNamespace, config.Namespace)
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 8}, planOf(t, config.Data, ""))

	policies := ofKind(objs, "ClusterPolicy")
	require.Len(t, policies, 1)
	plugin, _, err := unstructured.NestedMap(policies[0].Object, "spec", "devicePlugin", "config")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"name": "time-slicing-config", "default": "any"}, plugin)
	mig, _, err := unstructured.NestedString(policies[0].Object, "spec", "mig", "strategy")
	require.NoError(t, err)
	require.Equal(t, "none", mig, "the GPU Operator's setting beats the configuration's")

	settings := settingsOf(t, objs)
	require.Equal(t, "vdi-system", settings.TimeSlicing.Namespace)
	require.False(t, settings.TimeSlicing.ManagePolicy)
	require.Empty(t, settings.TimeSlicing.Configs, "one source of truth")
	require.Equal(t, []string{"nvidia.com/gpu"}, settings.Sessions.GPUSharing.Sliced)
	require.NotContains(t, verbsOn(t, objs, "configmaps"), "patch")
	require.NotContains(t, verbsOn(t, objs, "clusterpolicies"), "patch")
	require.Equal(t, []string{"list", "watch", "patch"}, verbsOn(t, objs, "daemonsets"))
}

// TestSharingValuesReachTheChart: the stand-in records what it was given.
func TestSharingValuesReachTheChart(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(nil, inRepository("values", "production.yaml")))
	record := find[corev1.ConfigMap](t, objs, "ConfigMap", "gpu-operator-values")
	var given struct {
		MIG          struct{ Strategy string }
		DevicePlugin struct {
			Config struct {
				Create        bool
				Name, Default string
				Data          map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(record.Data["values.yaml"]), &given))
	config := given.DevicePlugin.Config
	require.Equal(t, "none", given.MIG.Strategy)
	require.False(t, config.Create, "this chart makes the ConfigMap")
	require.Equal(t, "time-slicing-config any", config.Name+" "+config.Default)
	made := find[corev1.ConfigMap](t, objs, "ConfigMap", "time-slicing-config")
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 8}, planOf(t, made.Data, ""))
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 1}, planOf(t, made.Data, "dedicated"))
	require.Equal(t, []string{"dedicated"}, settingsOf(t, objs).Sessions.GPUSharing.Dedicated, "whose nodes may give two")
}

// TestSlicesAreOneValue: nobody needs the device plugin's format, and who has it in the
// GPU Operator's own values keeps it.
func TestSlicesAreOneValue(t *testing.T) {
	t.Parallel()
	set := map[string]string{"slicesPerGPU": "4", "gpuPools.small": "12", "vdi-operator.gpuSharing.dedicated": "{whole}", "gpu-operator.devicePlugin.config.data.own": "version: v1"}
	config := find[corev1.ConfigMap](t, objects(t, platformChart(set)), "ConfigMap", "time-slicing-config")
	for pool, slices := range map[string]int64{"": 4, "small": 12, "whole": 1, "own": 1} {
		require.Equal(t, map[string]int64{"nvidia.com/gpu": slices}, planOf(t, config.Data, pool), pool)
	}
	before := find[corev1.ConfigMap](t, objects(t, platformChart(theirConfig())), "ConfigMap", "time-slicing-config")
	require.Equal(t, "gpu-operator", before.Labels["app.kubernetes.io/name"], "made by the chart whose value it is")
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 4}, planOf(t, before.Data, ""))
	objs := objects(t, platformChart(map[string]string{"gpu-operator.enabled": "false", "vdi-operator.gpuSharing.enabled": "false"}))
	require.NotContains(t, names(ofKind(objs, "ConfigMap")), "time-slicing-config")
}

func names(objs []*unstructured.Unstructured) (names []string) {
	for _, obj := range objs {
		names = append(names, obj.GetName())
	}
	return names
}

// TestOwnSharing: a ConfigMap that somebody keeps is named, and neither made nor judged.
func TestOwnSharing(t *testing.T) {
	t.Parallel()
	kept := map[string]string{"timeSlicing.create": "false", "vdi-operator.gpuSharing.dedicated": "{whole}"}
	objs := objects(t, platformChart(kept))
	require.NotContains(t, names(ofKind(objs, "ConfigMap")), "time-slicing-config")
	require.Equal(t, []string{"whole"}, settingsOf(t, objs).Sessions.GPUSharing.Dedicated)
	name, _, err := unstructured.NestedString(ofKind(objs, "ClusterPolicy")[0].Object, "spec", "devicePlugin", "config", "name")
	require.NoError(t, err)
	require.Equal(t, "time-slicing-config", name)
	for key, value := range map[string]string{"slicesPerGPU": "4", "gpuPools.small": "4", "gpu-operator.devicePlugin.config.data.any": "version: v1"} {
		_, err := render(t, platformChart(map[string]string{"timeSlicing.create": "false", key: value}))
		require.ErrorContains(t, err, "is set, but timeSlicing.create is off, so nothing is made of it")
	}
}

// TestNothingOfTheGPUOperator: who installs none may take its values out.
func TestNothingOfTheGPUOperator(t *testing.T) {
	t.Parallel()
	_, err := render(t, platformChart(map[string]string{"gpu-operator.enabled": "false", "gpu-operator.devicePlugin": "null", "vdi-operator.gpuSharing.enabled": "false"}))
	require.NoError(t, err)
}

// TestSharingByUs (mode B): a GPU Operator that runs already is told by ours.
func TestSharingByUs(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(nil, inRepository("values", "bring-your-own.yaml")))
	require.Empty(t, ofKind(objs, "ClusterPolicy", "DaemonSet"), "nothing of theirs is installed")
	sharing := settingsOf(t, objs).TimeSlicing
	require.True(t, sharing.ManagePolicy)
	require.Equal(t, "gpu-operator", sharing.Namespace)
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 8}, planOf(t, sharing.ConfigMapData(), ""))
	require.Equal(t, map[string]int64{"nvidia.com/gpu": 1}, planOf(t, sharing.ConfigMapData(), "dedicated"))
	require.Equal(t, []string{"dedicated"}, settingsOf(t, objs).Sessions.GPUSharing.Dedicated, "from its one replica")
	require.Equal(t, "gpu-operator", find[rbacv1.Role](t, objs, "Role", sharingRole).Namespace)
	require.Equal(t, []string{"list", "watch", "create", "patch"}, verbsOn(t, objs, "configmaps"))
	require.Contains(t, verbsOn(t, objs, "clusterpolicies"), "patch")
}

// TestNoSharingNoRights: an operator that shares no GPUs may look at no node, but for the
// encoder's sake.
func TestNoSharingNoRights(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"encoder.readNodes": "false"}))
	for _, obj := range ofKind(objs, "Role", "ClusterRole") {
		if isForPeople(obj.GetName()) {
			continue
		}
		for _, rule := range typed[rbacv1.ClusterRole](t, obj).Rules {
			for _, resource := range []string{"nodes", "daemonsets", "clusterpolicies"} {
				require.NotContains(t, rule.Resources, resource, key(obj))
			}
		}
	}
	require.Empty(t, settingsOf(t, objs).Sessions.GPUSharing.Sliced)
}

// planOf is what one card on a node with this label would be.
func planOf(t *testing.T, data map[string]string, label string) map[string]int64 {
	t.Helper()
	configs := platform.ParsePluginConfigs(data)
	require.Empty(t, configs.Problems())
	plan, err := configs.PlanSlices(map[string]string{"nvidia.com/gpu.count": "1", platform.SharingLabel: label}, "any")
	require.NoError(t, err)
	return plan
}

func settingsOf(t *testing.T, objs []*unstructured.Unstructured) platform.Config {
	t.Helper()
	for _, obj := range ofKind(objs, "ConfigMap") {
		if text := typed[corev1.ConfigMap](t, obj).Data["config.yaml"]; text != "" {
			config, err := platform.ParseConfig([]byte(text))
			require.NoError(t, err)
			return config
		}
	}
	require.Fail(t, "the operator has no settings")
	return platform.Config{}
}

// verbsOn are the verbs of the rules about GPU sharing that name a resource.
func verbsOn(t *testing.T, objs []*unstructured.Unstructured, resource string) (verbs []string) {
	t.Helper()
	for _, obj := range ofKind(objs, "Role", "ClusterRole") {
		if obj.GetName() != sharingRole && obj.GetName() != "vdi-system:vdi-operator:gpu-sharing" {
			continue
		}
		for _, rule := range typed[rbacv1.ClusterRole](t, obj).Rules {
			if rule.Resources[0] == resource {
				verbs = append(verbs, rule.Verbs...)
			}
		}
	}
	require.NotEmpty(t, verbs, resource)
	return verbs
}
