package renderer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// chartOf is what the chart alone renders, with everything that it can: no step of ours
// has put a word right.
func chartOf(t *testing.T, mode wire.AccessMode, over ...values) *Rendered {
	t.Helper()
	inputs, r := goldenInputs(t), newRenderer(t)
	in := inputs["webrtc"]
	if mode == wire.AccessOIDC {
		in.Platform.Access, in.StatementKeys = inputs["oidc"].Platform.Access, inputs["oidc"].StatementKeys
	}
	in.Template.Spec.Values = inputs["disruption-budget"].Template.Spec.Values
	in.Platform = in.Platform.WithDefaults()
	all, err := r.valuesOf(in)
	require.NoError(t, err)
	objects, err := r.chart.objects(releaseOf(in), merge(all, over...))
	require.NoError(t, err)
	return &Rendered{Objects: objects}
}

// TestChartRendersTheKinds: the kinds of the wire and no other.
func TestChartRendersTheKinds(t *testing.T) {
	var want, got []string
	for _, k := range wire.Children() {
		want = append(want, k.APIVersion()+" "+k.Name)
		gvk := runtimeschema.FromAPIVersionAndKind(k.APIVersion(), k.Name)
		assert.Equal(t, runtimeschema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Name}, gvk)
	}
	for _, obj := range chartOf(t, wire.AccessOIDC).Objects {
		got = append(got, obj.GetAPIVersion()+" "+obj.GetKind())
	}
	assert.ElementsMatch(t, want, got)
}

// TestChartLabelsInTheWiresWords: on every object and in every selector.
func TestChartLabelsInTheWiresWords(t *testing.T) {
	chart := chartOf(t, wire.AccessOIDC)
	for _, obj := range chart.Objects {
		labels := obj.GetLabels()
		assert.ElementsMatch(t, []string{wire.LabelName, wire.LabelInstance, wire.LabelManagedBy, wire.LabelUser, wire.LabelTemplate}, slices.Collect(maps.Keys(labels)), obj.GetKind())
		assert.Equal(t, []string{wire.NameSession, "desk", wire.Operator}, []string{labels[wire.LabelName], labels[wire.LabelInstance], labels[wire.LabelManagedBy]}, obj.GetKind())
	}
	selector := map[string]string{wire.LabelName: wire.NameSession, wire.LabelInstance: "desk"}
	assert.Equal(t, selector, typed[networkingv1.NetworkPolicy](t, chart.ofKind(wire.KindNetworkPolicy)[0]).Spec.PodSelector.MatchLabels)
	assert.Equal(t, selector, typed[corev1.Service](t, chart.ofKind(wire.KindService)[0]).Spec.Selector)
	assert.Equal(t, selector, typed[policyv1.PodDisruptionBudget](t, chart.ofKind(wire.KindPodDisruptionBudget)[0]).Spec.Selector.MatchLabels)
	annotations := chart.ofKind(wire.KindPod)[0].GetAnnotations()
	assert.Equal(t, []string{"alice", string(vdi.TransportWebRTC)}, []string{annotations[wire.AnnotationUser], annotations[wire.AnnotationTransport]})
}

// TestChartKnowsReservedLabels: what a template cannot set is what the platform sets.
func TestChartKnowsReservedLabels(t *testing.T) {
	for _, key := range []string{wire.LabelName, wire.LabelInstance, wire.LabelManagedBy, wire.LabelUser, wire.LabelTemplate, wire.AnnotationTransport, wire.AnnotationSessionRevision} {
		reserved := slices.ContainsFunc(wire.ReservedPrefixes(), func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		assert.True(t, reserved, key)
	}
}

func chartPod(t *testing.T, mode wire.AccessMode) *corev1.Pod {
	t.Helper()
	return typed[corev1.Pod](t, chartOf(t, mode).ofKind(wire.KindPod)[0])
}

// TestChartNamesContainersAndVolumes in the wire's words.
func TestChartNamesContainersAndVolumes(t *testing.T) {
	spec := chartPod(t, wire.AccessOIDC).Spec
	desktop, agent := spec.Containers[0], spec.InitContainers[0]
	assert.Equal(t, []string{wire.ContainerDesktop, wire.ContainerAgent}, []string{desktop.Name, agent.Name})
	assert.Equal(t, []string{wire.AgentProgram}, agent.Command)
	assert.Equal(t, wire.AgentProgram, agent.Lifecycle.PreStop.Exec.Command[0])
	var volumes, mounts []string
	for _, v := range spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, m := range agent.VolumeMounts {
		mounts = append(mounts, m.Name)
	}
	own := []string{wire.VolumeCredentials, wire.VolumeTURN, wire.VolumeStatementKeys, wire.VolumeAgentState}
	assert.ElementsMatch(t, append(own, wire.VolumeHome, "dshm"), volumes)
	assert.ElementsMatch(t, own, mounts)
}

// TestChartNamesSecretsAndKeys in the wire's words.
func TestChartNamesSecretsAndKeys(t *testing.T) {
	chart := chartOf(t, wire.AccessPassword, values{"credentials": values{"secretName": ""}}) // the chart's own choice
	pod := typed[corev1.Pod](t, chart.ofKind(wire.KindPod)[0])
	secrets, keys := map[string]string{}, map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil {
			secrets[v.Name] = v.Secret.SecretName
		}
	}
	assert.Equal(t, map[string]string{wire.VolumeCredentials: "desk" + wire.SuffixCredentials, wire.VolumeTURN: "desk" + wire.SuffixTURN}, secrets)
	for _, variable := range pod.Spec.Containers[0].Env {
		if from := variable.ValueFrom; from != nil {
			assert.Equal(t, "desk"+wire.SuffixCredentials, from.SecretKeyRef.Name)
			keys[from.SecretKeyRef.Key] = true
		}
	}
	assert.Equal(t, map[string]bool{wire.KeyDesktopUsername: true, wire.KeyDesktopPassword: true}, keys)
	assert.Equal(t, []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}, []string{wire.KeyUsername, wire.KeyPassword}, "as the Secret's type asks for")
}

// TestChartNamesPorts: names and numbers of containers, probes, Service, route and policy.
func TestChartNamesPorts(t *testing.T) {
	chart, spec := chartOf(t, wire.AccessOIDC), chartPod(t, wire.AccessOIDC).Spec
	agent := spec.InitContainers[0]
	assert.Equal(t, wire.PortHTTP, spec.Containers[0].Ports[0].Name)
	assert.Equal(t, []corev1.ContainerPort{
		{Name: wire.PortAgent, ContainerPort: int32(wire.AgentVisitorPort), Protocol: corev1.ProtocolTCP},
		{Name: wire.PortAgentStatus, ContainerPort: int32(wire.AgentStatusPort), Protocol: corev1.ProtocolTCP},
	}, agent.Ports)
	assert.Equal(t, []string{wire.PathReady, wire.PortAgentStatus, wire.PortAgentStatus},
		[]string{agent.ReadinessProbe.HTTPGet.Path, agent.ReadinessProbe.HTTPGet.Port.StrVal, agent.StartupProbe.TCPSocket.Port.StrVal})

	service := typed[corev1.Service](t, chart.ofKind(wire.KindService)[0]).Spec.Ports
	require.Len(t, service, 1)
	assert.Equal(t, []any{wire.PortHTTP, int32(wire.ServicePort), wire.PortAgent}, []any{service[0].Name, service[0].Port, service[0].TargetPort.StrVal})
	route := manifest.Maps(manifest.Nested(chart.ofKind(wire.KindIngressRoute)[0].Object, "spec", "routes"))[0]
	assert.Equal(t, wire.ServicePort, manifest.Maps(route["services"])[0]["port"])
	var admitted []int64
	for _, rule := range typed[networkingv1.NetworkPolicy](t, chart.ofKind(wire.KindNetworkPolicy)[0]).Spec.Ingress {
		admitted = append(admitted, int64(rule.Ports[0].Port.IntVal))
	}
	assert.Equal(t, []int64{wire.AgentVisitorPort, wire.AgentStatusPort}, admitted)
}

// TestChartSpeaksToTheAgent: its arguments are the wire's words.
func TestChartSpeaksToTheAgent(t *testing.T) {
	for _, mode := range []wire.AccessMode{wire.AccessPassword, wire.AccessOIDC} {
		args := chartPod(t, mode).Spec.InitContainers[0].Args
		for _, want := range []string{
			"--mode=" + string(mode), "--input=" + wire.InputNone,
			fmt.Sprintf("--listen=:%d", wire.AgentVisitorPort), fmt.Sprintf("--status-listen=:%d", wire.AgentStatusPort),
		} {
			assert.Contains(t, args, want)
		}
	}
	defaults := newRenderer(t).chart.defaults
	assert.Equal(t, []string{string(wire.AccessPassword), wire.InputSelkies}, []string{textAt(defaults, "agent", "mode"), textAt(defaults, "agent", "input")})
}

// TestChartHandsStatementsOn: the proxy takes the statement from the front door's answer,
// and asks it only in mode OIDC.
func TestChartHandsStatementsOn(t *testing.T) {
	auth := manifest.Nested(chartOf(t, wire.AccessOIDC).ofKind(wire.KindMiddleware)[0].Object, "spec", "forwardAuth", "authResponseHeaders")
	assert.Equal(t, []any{wire.HeaderStatement}, auth)
	assert.Empty(t, chartOf(t, wire.AccessPassword).ofKind(wire.KindMiddleware))
}
