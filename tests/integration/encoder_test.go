package integration

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// encoder is what the desktop's pod was told.
func (w *world) encoder() string {
	w.t.Helper()
	for _, e := range w.pod().Spec.Containers[0].Env {
		if e.Name == "SELKIES_ENCODER" {
			return e.Value
		}
	}
	return ""
}

// forgetGPU takes out of the status what the desktop got.
func (w *world) forgetGPU() {
	w.t.Helper()
	s := w.session()
	before := s.DeepCopy()
	s.Status.GPU = nil
	require.NoError(w.t, w.client.Status().Patch(w.ctx, s, client.MergeFrom(before)))
}

// gpuNodes are a cluster of nodes with GPUs; nothing else is known of them.
type gpuNodes func() []platform.GPUNode

func (n gpuNodes) GPUs(context.Context, vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
	return n(), nil
}

func (n gpuNodes) Most(context.Context, corev1.ResourceName) (most resource.Quantity, known bool, err error) {
	return most, false, nil
}

// TestEncoderIsChosenAtTheStart: Auto goes by the nodes of the start; nodes that
// come and go later change nothing about a running desktop, and count at the
// next start.
func TestEncoderIsChosenAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRelay)
	w.operator.Relay = &mounted{relaySecret}
	nodes := []platform.GPUNode{{Product: "Tesla-T4", Driver: 570}}
	asked := 0
	w.operator.Nodes = gpuNodes(func() []platform.GPUNode {
		asked++
		return nodes
	})
	w.createTemplate(func(t *vdi.VDITemplate) { t.Spec.Streamer = vdi.StreamerSelkiesGStreamer })
	w.createSession()
	w.start()
	require.Equal(t, "nvh264enc", w.encoder())
	require.Equal(t, "nvh264enc", w.session().Status.GPU.Encoder)
	first := w.pod().UID

	nodes = append(nodes, platform.GPUNode{Product: "NVIDIA-A100-SXM4-40GB", Driver: 570})
	before := asked
	w.forgetGPU() // as if the operator had died between the pod and its status
	w.pass()
	require.Equal(t, before, asked, "a running desktop does not depend on the nodes")
	require.Equal(t, first, w.pod().UID)
	require.Nil(t, meta.FindStatusCondition(w.session().Status.Conditions, vdi.ConditionUpdatePending))
	require.Equal(t, "nvh264enc", w.session().Status.GPU.Encoder)

	w.change(suspend)
	w.pass()
	w.podEnds(desk)
	w.pass()
	require.Equal(t, vdi.PhaseSuspended, w.session().Status.Phase)
	require.Equal(t, "nvh264enc", w.session().Status.GPU.Encoder, "what it had")
	w.change(resume)
	w.start()
	require.Equal(t, "x264enc", w.encoder())
	require.Equal(t, "x264enc", w.session().Status.GPU.Encoder)
}

// templatesFollowNodes: with the chart's rights and settings the status of
// templates follows the nodes, and tells of a demand that they cannot meet.
func templatesFollowNodes(w *world) {
	w.t.Helper()
	template := func(name, gpu string, choice vdi.EncoderChoice) *vdi.VDITemplate {
		t := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: vdi.VDITemplateSpec{
			Image: image, GPU: vdi.TemplateGPU{ResourceName: gpu, Encoder: choice},
			Scheduling: vdi.TemplateScheduling{NodeSelector: map[string]string{"pool": "desktops"}},
		}}
		require.NoError(w.t, w.client.Create(w.ctx, t))
		return t
	}
	node := func(name string, gpu corev1.ResourceName, labels map[string]string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		n.Status.Allocatable = corev1.ResourceList{gpu: resource.MustParse("1")}
		require.NoError(w.t, w.client.Create(w.ctx, n))
		return n
	}
	nvidia := func(name, product string) *corev1.Node {
		return node(name, platform.DefaultGPUResource, map[string]string{
			"pool": "desktops", "nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product,
		})
	}
	l4 := nvidia("has-nvenc", "NVIDIA-L4-SHARED")
	auto := template("encoder-auto", platform.DefaultGPUResource, vdi.EncoderAuto)
	demand := template("encoder-nvenc", platform.DefaultGPUResource, vdi.EncoderNVENC)
	other := template("other-gpu", "amd.com/gpu", vdi.EncoderAuto)
	encoder := func(t *vdi.VDITemplate, want vdi.EncoderOutcome, reason string) {
		w.t.Helper()
		w.eventually(func() bool {
			require.NoError(w.t, w.client.Get(w.ctx, client.ObjectKeyFromObject(t), t))
			valid := meta.FindStatusCondition(t.Status.Conditions, vdi.ConditionValid)
			return t.Status.Encoder == want && valid != nil && valid.Status == metav1.ConditionTrue && valid.Reason == reason
		}, "the template tells its encoder")
	}
	encoder(auto, vdi.OutcomeNVENC, vdi.ReasonAsExpected)
	encoder(demand, vdi.OutcomeNVENC, vdi.ReasonAsExpected)
	encoder(other, vdi.OutcomePerNode, vdi.ReasonNotOffered)
	h100 := nvidia("has-none", "NVIDIA-H100-80GB-HBM3")
	amd := node("has-another", "amd.com/gpu", nil)
	encoder(auto, vdi.OutcomePerNode, vdi.ReasonAsExpected)
	encoder(demand, vdi.OutcomePerNode, vdi.ReasonEncoderMissing)
	encoder(other, vdi.OutcomePerNode, vdi.ReasonAsExpected)
	for _, o := range []client.Object{l4, h100, amd, auto, demand, other} {
		require.NoError(w.t, w.client.Delete(w.ctx, o))
	}
}

// TestPolicyOfTemplates: the API server refuses words and combinations that mean
// nothing; what a streamer cannot keep to leaves the template not valid, says
// what to do, and starts no session.
func TestPolicyOfTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func(says string, policy vdi.TemplatePolicy) {
		t.Helper()
		err := w.client.Create(w.ctx, &vdi.VDITemplate{
			ObjectMeta: metav1.ObjectMeta{Name: "refused-" + w.ns}, Spec: vdi.VDITemplateSpec{Image: image, Policy: policy},
		})
		require.ErrorContains(t, err, says)
	}
	refused(`Unsupported value: "In"`, vdi.TemplatePolicy{Clipboard: "In"})
	refused(`Unsupported value: "none"`, vdi.TemplatePolicy{FileTransfer: "none"})
	refused("policy.microphone needs policy.audio", vdi.TemplatePolicy{Audio: new(false), Microphone: new(true)})

	w.createTemplate(func(t *vdi.VDITemplate) {
		t.Spec.Streamer, t.Spec.Port, t.Spec.HealthPath = vdi.StreamerCustom, 3000, "/"
		t.Spec.Policy.FileTransfer = vdi.FileTransferNone
	})
	w.templatePass()
	template := &vdi.VDITemplate{}
	require.NoError(t, w.client.Get(w.ctx, client.ObjectKey{Name: w.template}, template))
	valid := meta.FindStatusCondition(template.Status.Conditions, vdi.ConditionValid)
	require.Equal(t, metav1.ConditionFalse, valid.Status)
	require.Contains(t, valid.Message, "spec.policy.fileTransfer: streamer Custom cannot keep to None; remove it, or use streamer Selkies")
	w.createSession()
	w.pass()
	require.Equal(t, vdi.PhaseFailed, w.session().Status.Phase)
	require.Contains(t, w.session().Status.Message, "spec.policy.fileTransfer")
	require.False(t, w.podExists())
}
