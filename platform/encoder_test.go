package platform

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// gpuNode are the labels that GPU feature discovery gives a node.
func gpuNode(product, driver string, more ...string) map[string]string {
	labels := map[string]string{"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product}
	if driver != "" {
		labels["nvidia.com/cuda.driver-version.major"] = driver
	}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

func encoderTemplate(streamer vdi.Streamer, choice vdi.EncoderChoice, selector ...string) vdi.VDITemplateSpec {
	t := vdi.VDITemplateSpec{Streamer: streamer, GPU: vdi.TemplateGPU{ResourceName: "nvidia.com/gpu", Encoder: choice}}
	for i := 0; i < len(selector); i += 2 {
		t.Scheduling.NodeSelector = map[string]string{selector[i]: selector[i+1]}
	}
	return t
}

// What a template's encoder comes to: for the streamer, and in the words of the status.
func TestEncoder(t *testing.T) {
	const oldOne, newOne, other = vdi.StreamerSelkiesGStreamer, vdi.StreamerSelkies, vdi.StreamerCustom
	t4, l4 := gpuNode("Tesla-T4-SHARED", "570", "pool", "desktops"), gpuNode("NVIDIA-L4", "535", "pool", "desktops")
	newDriver := gpuNode("NVIDIA-L4", "595", "pool", "desktops")
	a100, h100 := gpuNode("NVIDIA-A100-SXM4-40GB", "570", "pool", "compute"), gpuNode("NVIDIA-H100-80GB-HBM3", "570", "pool", "compute")
	unlabelled, noGPU := gpuNode("", ""), map[string]string{"pool": "desktops"}
	type nodes = []map[string]string
	for name, c := range map[string]struct {
		template vdi.VDITemplateSpec
		nodes    nodes
		encoder  string // with one GPU
		outcome  vdi.EncoderOutcome
		warning  string
	}{
		"Auto, all have it":             {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{t4, l4, noGPU}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"Auto, one has none":            {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{t4, a100}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, not in the selected":     {encoderTemplate(oldOne, vdi.EncoderAuto, "pool", "desktops"), nodes{t4, a100}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"Auto, only in others":          {encoderTemplate(oldOne, vdi.EncoderAuto, "pool", "compute"), nodes{t4, a100}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, selector of no node":     {encoderTemplate(oldOne, vdi.EncoderAuto, "pool", "none"), nodes{t4}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, one not labelled yet":    {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{t4, unlabelled}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, driver too new for 1.6":  {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{t4, newDriver}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, driver unknown":          {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{gpuNode("Tesla-T4", "")}, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto, driver's former label":   {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{gpuNode("Tesla-T4", "", "nvidia.com/cuda.driver.major", "535")}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"Auto, no node known":           {encoderTemplate(oldOne, vdi.EncoderAuto), nil, "x264enc", vdi.OutcomeSoftware, ""},
		"Auto by default":               {encoderTemplate(oldOne, ""), nodes{t4}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"Auto, no GPU ever":             {without(encoderTemplate(oldOne, vdi.EncoderAuto)), nodes{t4}, "nvh264enc", vdi.OutcomeSoftware, ""},
		"Software on NVENC":             {encoderTemplate(oldOne, vdi.EncoderSoftware), nodes{t4}, "x264enc", vdi.OutcomeSoftware, ""},
		"NVENC, all have it":            {encoderTemplate(oldOne, vdi.EncoderNVENC), nodes{t4}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"NVENC, no node known":          {encoderTemplate(oldOne, vdi.EncoderNVENC), nil, "nvh264enc", vdi.OutcomeNVENC, ""},
		"NVENC, two have none":          {encoderTemplate(oldOne, vdi.EncoderNVENC), nodes{h100, t4, a100}, "nvh264enc", vdi.OutcomeNVENC, "(NVIDIA-A100-SXM4-40GB, NVIDIA-H100-80GB-HBM3)"},
		"NVENC, driver too new":         {encoderTemplate(oldOne, vdi.EncoderNVENC), nodes{newDriver}, "nvh264enc", vdi.OutcomeNVENC, "(NVIDIA-L4 with driver 595, where this streamer needs one below 580)"},
		"NVENC, driver unknown":         {encoderTemplate(oldOne, vdi.EncoderNVENC), nodes{gpuNode("Tesla-T4", "")}, "nvh264enc", vdi.OutcomeNVENC, "(Tesla-T4 with an unknown driver)"},
		"NVENC, not labelled yet":       {encoderTemplate(oldOne, vdi.EncoderNVENC), nodes{unlabelled}, "nvh264enc", vdi.OutcomeNVENC, "(an unknown GPU)"},
		"Selkies 2, any driver":         {encoderTemplate(newOne, vdi.EncoderAuto), nodes{newDriver}, "h264enc", vdi.OutcomeNVENC, ""},
		"Selkies 2 looks itself":        {encoderTemplate(newOne, vdi.EncoderAuto), nodes{t4, a100}, "h264enc", vdi.OutcomePerNode, ""},
		"Selkies 2, unknown":            {encoderTemplate(newOne, vdi.EncoderAuto), nil, "h264enc", vdi.OutcomePerNode, ""},
		"Selkies 2, none has it":        {encoderTemplate(newOne, vdi.EncoderAuto), nodes{a100, h100}, "h264enc", vdi.OutcomeSoftware, ""},
		"Selkies 2, NVENC on A100":      {encoderTemplate(newOne, vdi.EncoderNVENC), nodes{a100}, "h264enc", vdi.OutcomeSoftware, "(NVIDIA-A100-SXM4-40GB)"},
		"Selkies 2 in software":         {encoderTemplate(newOne, vdi.EncoderSoftware), nodes{t4}, "h264enc", vdi.OutcomeSoftware, ""},
		"Custom names none":             {encoderTemplate(other, vdi.EncoderAuto), nodes{t4}, "", "", ""},
		"slices with a name of theirs":  {resource(encoderTemplate(oldOne, vdi.EncoderAuto), "nvidia.com/gpu.shared"), nodes{t4}, "nvh264enc", vdi.OutcomeNVENC, ""},
		"another vendor's GPU":          {resource(encoderTemplate(oldOne, vdi.EncoderAuto), "amd.com/gpu"), nodes{t4}, "x264enc", vdi.OutcomeSoftware, ""},
		"a MIG slice of its own name":   {resource(encoderTemplate(oldOne, vdi.EncoderAuto), "nvidia.com/mig-1g.5gb"), nodes{t4}, "x264enc", vdi.OutcomeSoftware, ""},
		"a node that only shares so":    {encoderTemplate(oldOne, vdi.EncoderAuto), nodes{t4, {"nvidia.com/device-plugin.config": "any"}}, "x264enc", vdi.OutcomeSoftware, ""},
		"a product without other label": {encoderTemplate(newOne, vdi.EncoderAuto), nodes{{"nvidia.com/gpu.product": "NVIDIA-L4"}}, "h264enc", vdi.OutcomeNVENC, ""},
	} {
		known := NodesFor(c.template, c.nodes)
		choice := ResolveEncoder(c.template, known)
		assert.Equal(t, c.encoder, EncoderFor(choice, c.template.Streamer, 1), name)
		assert.Equal(t, FactsOf(c.template.Streamer).SoftwareEncoder, EncoderFor(choice, c.template.Streamer, 0), "%s, without a GPU", name)
		assert.Equal(t, c.outcome, EncoderOutcome(c.template, known), name)
		if c.warning == "" {
			assert.Empty(t, EncoderWarning(c.template, known), name)
		} else {
			assert.Contains(t, EncoderWarning(c.template, known), c.warning, name)
			assert.Contains(t, EncoderWarning(c.template, known), "use Auto or Software, or a spec.scheduling.nodeSelector", name)
		}
	}
}

func without(t vdi.VDITemplateSpec) vdi.VDITemplateSpec {
	t.Resources.Max.GPU = new(int32(0))
	return t
}

func resource(t vdi.VDITemplateSpec, name string) vdi.VDITemplateSpec {
	t.GPU.ResourceName = name
	return t
}

// What a desktop was started with can be told from its environment.
func TestEncoderNamed(t *testing.T) {
	for name, want := range map[string]vdi.EncoderChoice{"nvh264enc": vdi.EncoderNVENC, "x264enc": vdi.EncoderSoftware, "vp8enc": vdi.EncoderSoftware, "": vdi.EncoderSoftware} {
		assert.Equal(t, want, EncoderNamed(vdi.StreamerSelkiesGStreamer, name), name)
	}
	assert.Equal(t, vdi.EncoderSoftware, EncoderNamed(vdi.StreamerCustom, ""))
}

func TestNodesForChangesNothing(t *testing.T) {
	labels := gpuNode("Tesla-T4", "570")
	before := maps.Clone(labels)
	NodesFor(encoderTemplate(vdi.StreamerSelkies, vdi.EncoderAuto), []map[string]string{labels})
	assert.Equal(t, before, labels)
}

func TestMIGSlicesEncodeOnlyWithGraphics(t *testing.T) {
	assert.False(t, HasNVENC("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition-MIG-1g.24gb"))
	assert.True(t, HasNVENC("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition-MIG-1g.24gb.gfx"))
}
