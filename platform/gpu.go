package platform

import (
	"slices"
	"strings"
)

// DefaultGPUResource is the extended resource of NVIDIA's device plugin.
const DefaultGPUResource = "nvidia.com/gpu"

// sharedSuffix is added to the product label of a time-sliced GPU by NVIDIA's
// GPU feature discovery (internal/lm/resource.go).
const sharedSuffix = "-SHARED"

// withNVENC lists products that have the video encoder, as the label
// nvidia.com/gpu.product spells them, without a leading "NVIDIA-". Feature
// discovery publishes no label for the encoder of a full GPU. Source: NVIDIA's
// video encode and decode GPU support matrix and the NIM Maxine Eye Contact
// support matrix 1.5.0.
func withNVENC() []string {
	return []string{
		"Tesla-T4", "T4", "Tesla-P4", "Tesla-P40", "Tesla-V100", "V100",
		"A2", "A10", "A10G", "A16", "A40",
		"L4", "L20", "L40", "L40S",
		"GeForce-RTX", "GeForce-GTX", "Quadro-RTX", "RTX",
	}
}

// withoutNVENC lists products that have none although their name may begin like
// one that has; "cannot encode" wins over "can". Source: the same matrices; H200,
// H20 and GH200 share the die GH100, B200 and GB200 share GB100.
func withoutNVENC() []string {
	return []string{"A100", "A30", "A800", "H100", "H200", "H20", "H800", "GH200", "B100", "B200", "B300", "GB200", "GB300"}
}

// HasNVENC says whether GPUs with this nvidia.com/gpu.product label are known
// to have a video encoder. Unknown products count as having none, and so do
// slices by MIG except those with graphics (RTX PRO 6000 Blackwell, profiles
// "+gfx"; NVIDIA MIG user guide, deployment considerations).
func HasNVENC(product string) bool {
	name := productName(product)
	if strings.Contains(name, "-MIG-") && !strings.Contains(name, "gfx") {
		return false
	}
	return !beginsWithAny(name, withoutNVENC()) && beginsWithAny(name, withNVENC())
}

// LacksNVENC says whether GPUs with this label are known to have none.
func LacksNVENC(product string) bool { return beginsWithAny(productName(product), withoutNVENC()) }

func productName(product string) string {
	name := strings.TrimSuffix(product, sharedSuffix)
	return strings.TrimPrefix(name, "NVIDIA-")
}

// beginsWithAny matches whole words: A10 is not A100.
func beginsWithAny(name string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool {
		rest, found := strings.CutPrefix(name, word)
		return found && (rest == "" || rest[0] == '-')
	})
}
