package desktop

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Requested is what the scheduler looks for on one node.
func Requested(pod *corev1.Pod) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, c := range pod.Spec.Containers {
		for name, quantity := range c.Resources.Requests {
			total := sum[name]
			total.Add(quantity)
			sum[name] = total
		}
	}
	return sum
}

// Encoder is the streamer's name of the encoder in a desktop's
// environment; "" where there is none.
func Encoder(streamer vdi.Streamer, pod *corev1.Pod) string {
	variable := platform.FactsOf(streamer).EncoderVariable
	if variable == "" {
		return ""
	}
	for _, s := range settings(pod) {
		if s.Name == variable {
			return s.Value
		}
	}
	return ""
}

// EncoderChoice is the choice behind it. Where a streamer has one name for both,
// its other settings show it.
func EncoderChoice(streamer vdi.Streamer, pod *corev1.Pod) vdi.EncoderChoice {
	software := platform.FactsOf(streamer).SoftwareSettings
	if slices.ContainsFunc(settings(pod), func(s platform.Setting) bool { return slices.Contains(software, s) }) {
		return vdi.EncoderSoftware
	}
	return platform.EncoderNamed(streamer, Encoder(streamer, pod))
}

// settings are the environment of a pod's containers.
func settings(pod *corev1.Pod) []platform.Setting {
	var all []platform.Setting
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			all = append(all, platform.Setting{Name: e.Name, Value: e.Value})
		}
	}
	return all
}

// Limits are those of the desktop's container.
func Limits(pod *corev1.Pod) corev1.ResourceList {
	if len(pod.Spec.Containers) == 0 {
		return nil
	}
	return pod.Spec.Containers[0].Resources.Limits
}

// GPUOf is the GPU resource among a desktop's limits and how much of it: the
// template's, or the one that the desktop was recorded with. Other extended
// resources are no GPUs.
func GPUOf(limits corev1.ResourceList, names ...string) (name string, count int32) {
	for _, name := range names {
		if quantity, has := limits[corev1.ResourceName(name)]; has && name != "" {
			return name, int32(quantity.Value())
		}
	}
	return "", 0
}

// LikelyGPU is the GPU among a desktop's limits by its name, where nobody knows any more which
// resource was asked for: its template is gone.
func LikelyGPU(limits corev1.ResourceList) (name string, count int32) {
	for _, resource := range slices.Sorted(maps.Keys(limits)) {
		if strings.Contains(string(resource), "gpu") {
			quantity := limits[resource]
			return string(resource), int32(quantity.Value())
		}
	}
	return "", 0
}
