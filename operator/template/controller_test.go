package template

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/gpunodes"
	"github.com/vdi-platform/vdi-platform/platform"
)

func TestStatusOf(t *testing.T) {
	noon := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	template := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: "tpl", Generation: 3}}
	sessions := make([]vdi.VDISession, 3)
	sessions[0].Status.Phase = vdi.PhaseRunning
	sessions[1].Status.Phase = vdi.PhaseSuspended

	template.Status = statusOf(template, seen{sessions: sessions}, noon)
	require.Equal(t, vdi.TemplateSessions{Total: 3, Running: 1}, template.Status.Sessions)
	require.Equal(t, int64(3), template.Status.ObservedGeneration)
	require.True(t, meta.IsStatusConditionTrue(template.Status.Conditions, vdi.ConditionValid))

	later := metav1.NewTime(noon.Add(time.Hour))
	require.Equal(t, template.Status, statusOf(template, seen{sessions: sessions}, later), "the same state gives the same status")

	bad := statusOf(template, seen{invalid: errors.New("spec.values.pod: unknown key")}, later)
	valid := meta.FindStatusCondition(bad.Conditions, vdi.ConditionValid)
	require.Equal(t, metav1.ConditionFalse, valid.Status)
	require.Equal(t, vdi.ReasonInvalidValues, valid.Reason)
	require.Equal(t, "spec.values.pod: unknown key", valid.Message)
	require.Equal(t, later, valid.LastTransitionTime)
	require.True(t, meta.IsStatusConditionTrue(template.Status.Conditions, vdi.ConditionValid), "the former status is not touched")
}

// The status says what the encoder comes to, and a demand that nodes cannot
// meet is a warning: sessions start all the same, and a node may come.
func TestStatusOfEncoder(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	template := &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkies}}
	require.Equal(t, vdi.OutcomePerNode, statusOf(template, seen{}, now).Encoder)
	require.Equal(t, vdi.OutcomeNVENC, statusOf(template, seen{nodes: []platform.GPUNode{{Product: "NVIDIA-L4"}}}, now).Encoder)

	template.Spec.GPU.Encoder = vdi.EncoderNVENC
	st := statusOf(template, seen{nodes: []platform.GPUNode{{Product: "NVIDIA-H100-80GB-HBM3"}}}, now)
	require.Equal(t, vdi.OutcomeSoftware, st.Encoder)
	valid := meta.FindStatusCondition(st.Conditions, vdi.ConditionValid)
	require.Equal(t, metav1.ConditionTrue, valid.Status)
	require.Equal(t, vdi.ReasonEncoderMissing, valid.Reason)
	require.Contains(t, valid.Message, "spec.gpu.encoder is NVENC")
	require.Contains(t, valid.Message, "NVIDIA-H100-80GB-HBM3")
}

// A GPU that no node offers is a warning, too, and comes before one about the
// encoder: without the GPU nothing starts at all.
func TestStatusOfWhatNoNodeOffers(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	template := &vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Streamer: vdi.StreamerSelkies, GPU: vdi.TemplateGPU{Encoder: vdi.EncoderNVENC}}}
	short := func(asked, most string) seen {
		return seen{
			nodes:   []platform.GPUNode{{Product: "NVIDIA-H100-80GB-HBM3"}},
			lacking: []gpunodes.Shortage{{Resource: "nvidia.com/gpu", Asked: resource.MustParse(asked), Most: resource.MustParse(most)}},
		}
	}
	for message, s := range map[string]seen{
		"Sessions can start from this template, but no node offers nvidia.com/gpu at present":                                        short("1", "0"),
		"Sessions can start from this template, but no node offers more than 2 of nvidia.com/gpu at present; its sessions ask for 4": short("4", "2"),
	} {
		template.Status = statusOf(template, s, now)
		valid := meta.FindStatusCondition(template.Status.Conditions, vdi.ConditionValid)
		require.Equal(t, metav1.ConditionTrue, valid.Status)
		require.Equal(t, vdi.ReasonNotOffered, valid.Reason)
		require.Equal(t, message, valid.Message)
	}
	template.Spec.GPU.Encoder = vdi.EncoderAuto
	valid := meta.FindStatusCondition(statusOf(template, seen{}, now).Conditions, vdi.ConditionValid)
	require.Equal(t, vdi.ReasonAsExpected, valid.Reason, "it goes away when a node comes")
}

// What counts is what a session gets that asks for nothing.
func TestAskedBy(t *testing.T) {
	for name, c := range map[string]struct {
		spec vdi.VDITemplateSpec
		want corev1.ResourceList
	}{
		"built in": {vdi.VDITemplateSpec{}, corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}},
		"the template's": {
			vdi.VDITemplateSpec{GPU: vdi.TemplateGPU{ResourceName: "amd.com/gpu"}, Resources: vdi.TemplateResources{DefaultGPU: new(int32(4))}},
			corev1.ResourceList{"amd.com/gpu": resource.MustParse("4")},
		},
		"none": {
			vdi.VDITemplateSpec{Resources: vdi.TemplateResources{DefaultGPU: new(int32(0))}},
			corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("0")},
		},
		"not valid": {vdi.VDITemplateSpec{Resources: vdi.TemplateResources{DefaultGPU: new(int32(-1))}}, nil},
	} {
		got := defaultRequests(c.spec)
		require.Len(t, got, len(c.want), name)
		for resourceName, amount := range c.want {
			require.True(t, amount.Equal(got[resourceName]), "%s: %v", name, got)
		}
	}
}
