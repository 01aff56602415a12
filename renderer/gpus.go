package renderer

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// GPUs come from the device plugin alone, as many as were agreed on. Container runtimes
// also give them for a variable, and images set theirs to "all": on nodes with such a
// runtime a container without a GPU of its own would see all of them.

// visibleGPUs is the variable of NVIDIA's container toolkit.
const visibleGPUs = "NVIDIA_VISIBLE_DEVICES"

// gpuVariables are those that give GPUs, or channels between them, and the prefix of the
// resources whose device plugin sets them; "" where none does. All take noGPUs for none.
func gpuVariables() map[string]string {
	return map[string]string{
		visibleGPUs:            "nvidia.com/",
		"NVIDIA_IMEX_CHANNELS": "",
		"AMD_VISIBLE_DEVICES":  "amd.com/",
	}
}

// noGPUs is no device's name.
const noGPUs = "void"

// gpuManagementVariables are variables that count for privileged containers alone, which a desktop
// has not.
func gpuManagementVariables() []string {
	return []string{"NVIDIA_MIG_CONFIG_DEVICES", "NVIDIA_MIG_MONITOR_DEVICES"}
}

// gpuFolders are where NVIDIA's container toolkit takes a mount for a request of the GPU
// of that name (accept-nvidia-visible-devices-as-volume-mounts).
func gpuFolders() []string {
	return []string{"/var/run/nvidia-container-devices", "/run/nvidia-container-devices"}
}

// hideGPUs lets only containers with a GPU of their own see one, and none of another
// vendor; which one, the device plugin says. NVIDIA's variable is common in templates and
// taken out of them; the guard refuses others.
func hideGPUs(c map[string]any, gpuResource string) {
	_, hasGPU := manifest.Nested(c, "resources", "limits", gpuResource).(int64)
	env, _ := c["env"].([]any)
	for _, name := range slices.Sorted(maps.Keys(gpuVariables())) {
		none := map[string]any{"name": name, "value": noGPUs}
		plugins := hasGPU && isSetFor(name, gpuResource)
		env = slices.DeleteFunc(env, func(e any) bool {
			entry, _ := e.(map[string]any)
			return name == visibleGPUs && entry["name"] == name && (plugins || !maps.Equal(entry, none))
		})
		if !plugins && !slices.ContainsFunc(manifest.Maps(env), func(e map[string]any) bool { return e["name"] == name }) {
			env = append(env, none)
		}
	}
	if len(env) > 0 {
		c["env"] = env
	}
}

// isSetFor reports whether the device plugin of a resource may set a variable: of some
// resources nobody knows whose GPUs they are.
func isSetFor(variable, resource string) bool {
	vendor := gpuVariables()[variable]
	known := slices.ContainsFunc(slices.Collect(maps.Values(gpuVariables())), func(v string) bool { return v != "" && strings.HasPrefix(resource, v) })
	return vendor != "" && (!known || strings.HasPrefix(resource, vendor))
}

// checkGPURequests refuses what asks for GPUs past the device plugin.
func checkGPURequests(f *findings, at string, c map[string]any) {
	for i, m := range manifest.Maps(c["volumeMounts"]) {
		mounted := path.Clean("/" + manifest.Text(m["mountPath"]))
		requests := slices.ContainsFunc(gpuFolders(), func(folder string) bool { return mounted == folder || strings.HasPrefix(mounted, folder+"/") })
		f.refuse(requests, "%svolumeMounts[%d].mountPath: %s asks for GPUs past the device plugin", at, i, mounted)
	}
	for _, entry := range manifest.Maps(c["env"]) {
		name := manifest.Text(entry["name"])
		_, gives := gpuVariables()[name]
		none := entry["value"] == noGPUs && len(entry) == 2
		f.refuse(gives && !none || slices.Contains(gpuManagementVariables(), name), "%senv: %s asks for GPUs past the device plugin", at, name)
	}
}
