package platform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Labels of GPU feature discovery (NVIDIA/k8s-device-plugin, docs of
// gpu-feature-discovery, "Generated Labels"); the last is deprecated there.
const (
	gpuProductLabel = "nvidia.com/gpu.product"
	driverLabel     = "nvidia.com/cuda.driver-version.major"
	oldDriverLabel  = "nvidia.com/cuda.driver.major"
)

// GPUNode is what GPU feature discovery says about a node with GPUs.
type GPUNode struct {
	// Product is the label nvidia.com/gpu.product; "" when it is not known yet.
	Product string
	// Driver is the major version of NVIDIA's driver; 0 when it is not known.
	Driver int
}

// GPUNodeOf reads a node's labels. It answers false for a node without GPUs.
func GPUNodeOf(labels map[string]string) (GPUNode, bool) {
	if !IsGPUNode(labels) && labels[gpuProductLabel] == "" {
		return GPUNode{}, false
	}
	version := labels[driverLabel]
	if version == "" {
		version = labels[oldDriverLabel]
	}
	driver, err := strconv.Atoi(version)
	if err != nil {
		driver = 0
	}
	return GPUNode{Product: labels[gpuProductLabel], Driver: driver}, true
}

// NodesFor are the GPU nodes that a template's desktops can land on: those with
// every label of its scheduling.nodeSelector. Taints and further rules of the
// scheduler are not looked at, so there may be too many, and never too few. A
// resource that is no whole or time-sliced NVIDIA GPU leads to no known node.
func NodesFor(t vdi.VDITemplateSpec, nodes []map[string]string) (out []GPUNode) {
	if r := t.GPU.ResourceName; r != "" && r != DefaultGPUResource && r != DefaultGPUResource+".shared" {
		return nil
	}
	for _, labels := range nodes {
		if node, hasGPU := GPUNodeOf(labels); hasGPU && selects(t.Scheduling.NodeSelector, labels) {
			out = append(out, node)
		}
	}
	return out
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if have, found := labels[key]; !found || have != value {
			return false
		}
	}
	return true
}

// canEncode says whether a streamer is known to find NVENC on a node.
func (f StreamerFacts) canEncode(n GPUNode) bool {
	return HasNVENC(n.Product) && (f.DriverBelow == 0 || (n.Driver > 0 && n.Driver < f.DriverBelow))
}

// ResolveEncoder is what a template's encoder comes to on the nodes that its
// desktops can land on: NVENC or Software. Auto takes NVENC only where every
// node is known to have it.
func ResolveEncoder(t vdi.VDITemplateSpec, nodes []GPUNode) vdi.EncoderChoice {
	if t.GPU.Encoder == vdi.EncoderNVENC || t.GPU.Encoder == vdi.EncoderSoftware {
		return t.GPU.Encoder
	}
	if len(nodes) == 0 || len(withoutEncoder(t, nodes)) > 0 {
		return vdi.EncoderSoftware
	}
	return vdi.EncoderNVENC
}

// withoutEncoder are the nodes that are not known to have NVENC.
func withoutEncoder(t vdi.VDITemplateSpec, nodes []GPUNode) []GPUNode {
	facts := FactsOf(t.Streamer)
	return slices.DeleteFunc(slices.Clone(nodes), facts.canEncode)
}

// EncoderOutcome tells people what ResolveEncoder means for sessions with a GPU.
func EncoderOutcome(t vdi.VDITemplateSpec, nodes []GPUNode) vdi.EncoderOutcome {
	facts := FactsOf(t.Streamer)
	switch {
	case facts.EncoderVariable == "":
		return ""
	case t.GPU.Encoder == vdi.EncoderSoftware, allLack(nodes), t.Resources.Max.GPU != nil && *t.Resources.Max.GPU == 0:
		return vdi.OutcomeSoftware
	case facts.FindsEncoder && (len(nodes) == 0 || len(withoutEncoder(t, nodes)) > 0):
		return vdi.OutcomePerNode
	}
	return vdi.EncoderOutcome(ResolveEncoder(t, nodes))
}

// allLack says whether nodes are known, and every one of them to have no NVENC.
func allLack(nodes []GPUNode) bool {
	return len(nodes) > 0 && !slices.ContainsFunc(nodes, func(n GPUNode) bool { return !LacksNVENC(n.Product) })
}

// EncoderWarning says what is wrong with a template that demands NVENC; "" when
// nothing is, or no node is known.
func EncoderWarning(t vdi.VDITemplateSpec, nodes []GPUNode) string {
	missing := withoutEncoder(t, nodes)
	if t.GPU.Encoder != vdi.EncoderNVENC || len(missing) == 0 {
		return ""
	}
	facts := FactsOf(t.Streamer)
	words := make([]string, len(missing))
	for i, n := range missing {
		words[i] = facts.lacks(n)
	}
	slices.Sort(words)
	return fmt.Sprintf("spec.gpu.encoder is NVENC, but nodes that this template can land on are not known to have it (%s); "+
		"use Auto or Software, or a spec.scheduling.nodeSelector of nodes that have it", strings.Join(slices.Compact(words), ", "))
}

// lacks says why a streamer finds no NVENC on a node.
func (f StreamerFacts) lacks(n GPUNode) string {
	switch {
	case n.Product == "":
		return "an unknown GPU"
	case HasNVENC(n.Product) && n.Driver == 0:
		return n.Product + " with an unknown driver"
	case HasNVENC(n.Product):
		return fmt.Sprintf("%s with driver %d, where this streamer needs one below %d", n.Product, n.Driver, f.DriverBelow)
	}
	return n.Product
}

// EncoderFor is the streamer's name of the encoder for a desktop with this many
// GPUs; choice is what ResolveEncoder gave. Without a GPU it is the one in
// software. A streamer that names no encoder (Custom) gives "".
func EncoderFor(choice vdi.EncoderChoice, streamer vdi.Streamer, gpus int32) string {
	facts := FactsOf(streamer)
	if gpus > 0 && choice == vdi.EncoderNVENC {
		return facts.HardwareEncoder
	}
	return facts.SoftwareEncoder
}

// EncoderNamed is the choice behind a streamer's name of an encoder.
func EncoderNamed(streamer vdi.Streamer, name string) vdi.EncoderChoice {
	if name != "" && name == FactsOf(streamer).HardwareEncoder {
		return vdi.EncoderNVENC
	}
	return vdi.EncoderSoftware
}
