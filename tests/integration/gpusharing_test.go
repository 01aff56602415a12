package integration

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing"
	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const (
	gpuNamespace = "gpu-operator"
	gpuResource  = corev1.ResourceName("nvidia.com/gpu")
	policyCRD    = "tests/standins/gpu-operator/crds/clusterpolicy.yaml"
)

// gpus is a cluster with a GPU Operator that runs already, and the part of ours
// that looks after its sharing. The test plays the GPU Operator and the kubelet.
type gpus struct {
	t       *testing.T
	ctx     context.Context
	client  client.WithWatch
	plane   *plane
	clock   *clocktesting.FakePassiveClock
	events  *recorder
	ns      string // where the status is told
	sharing *gpusharing.Reconciler
}

// TestGPUSharing has a control plane of its own: nodes and the ClusterPolicy
// belong to the whole cluster.
func TestGPUSharing(t *testing.T) {
	t.Parallel()
	p, err := startPlane(t.Context())
	require.NoError(t, err, missingToolFix)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	g := &gpus{t: t, ctx: t.Context(), client: p.admin, plane: p, clock: clocktesting.NewFakePassiveClock(time.Now()), events: &recorder{}}
	g.ns = "release"
	for _, ns := range []string{gpuNamespace, g.ns} {
		require.NoError(t, p.admin.Create(g.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	}
	g.createNode("gpu-1", 1, 1)
	g.restart(8)

	g.withoutTheKind()
	g.appliesTwoFields()
	g.restartsOncePerChange()
	g.tellsMismatchAndHealing()
	g.wrongConfigIsTold()
	g.conflictIsTold()
	g.asInstalled()
}

// restart replaces the operator by one with other values, which remembers nothing.
func (g *gpus) restart(replicas int) {
	g.sharing = &gpusharing.Reconciler{
		Client: g.client, Live: g.client, Namespace: g.ns, Clock: g.clock, Events: g.events, Metrics: gpusharing.NewMetrics(),
		Settings: platform.TimeSlicing{
			Enabled: true, ManagePolicy: true, Namespace: gpuNamespace, ConfigMap: "time-slicing-config", Default: "any", Policy: platform.DefaultClusterPolicy,
			Configs: map[string]platform.Slicing{"any": {Replicas: replicas}, "dedicated": {Replicas: 1}},
		},
	}
}

func (g *gpus) pass() ctrl.Result {
	g.t.Helper()
	result, err := g.sharing.Reconcile(g.ctx, ctrl.Request{})
	require.NoError(g.t, err)
	return result
}

// withoutTheKind: no GPU Operator yet is a sentence, not a failure.
func (g *gpus) withoutTheKind() {
	g.t.Helper()
	g.pass()
	require.Contains(g.t, g.told("config"), "the kind ClusterPolicy is not installed")
	require.NoError(g.t, g.plane.installCRDs(g.ctx, g.file(policyCRD), ""))
	g.pass()
	require.Contains(g.t, g.told("config"), "there is no ClusterPolicy cluster-policy")
}

func (g *gpus) appliesTwoFields() {
	g.t.Helper()
	policy := newPolicy()
	policy.Object["spec"] = map[string]any{
		"driver":       map[string]any{"enabled": true},
		"devicePlugin": map[string]any{"enabled": true, "args": []any{"--verbose"}},
	}
	require.NoError(g.t, g.client.Create(g.ctx, policy, client.FieldOwner("helm")))
	require.NoError(g.t, g.client.Create(g.ctx, newPlugin()))
	g.pass()

	policy = g.policy()
	require.Equal(g.t, map[string]any{
		"driver":       map[string]any{"enabled": true},
		"devicePlugin": map[string]any{"enabled": true, "args": []any{"--verbose"}, "config": map[string]any{"name": "time-slicing-config", "default": "any"}},
	}, policy.Object["spec"], "foreign fields are kept")
	require.JSONEq(g.t, `{"f:spec":{"f:devicePlugin":{"f:config":{"f:default":{},"f:name":{}}}}}`, ownedBy(policy, gpusharing.FieldOwner))

	g.pass() // sees the ConfigMap and restarts the device plugin
	g.kubeletOffers("gpu-1", 8)
	g.pass()
	require.Equal(g.t, "AsPlanned", g.state("node.gpu-1"))
	require.Equal(g.t, "AsPlanned", g.state("config"))
	before := g.versions()
	g.pass()
	require.Equal(g.t, before, g.versions(), "a second look writes nothing")
	g.restart(8)
	g.pass()
	require.Equal(g.t, before, g.versions(), "nor does an operator that starts anew")
}

func (g *gpus) restartsOncePerChange() {
	g.t.Helper()
	generation, hash := g.plugin().Generation, g.plugin().Spec.Template.Annotations[wire.AnnotationSharingHash]
	require.NotEmpty(g.t, hash)
	g.restart(4)
	for range 4 {
		g.pass()
	}
	require.Equal(g.t, generation+1, g.plugin().Generation, "one restart for one change")
	require.NotEqual(g.t, hash, g.plugin().Spec.Template.Annotations[wire.AnnotationSharingHash])
	require.Equal(g.t, "kept", g.plugin().Spec.Template.Annotations["theirs"])
}

func (g *gpus) tellsMismatchAndHealing() {
	g.t.Helper()
	g.events.forget()
	again := g.pass()
	require.Equal(g.t, "Changing", g.state("node.gpu-1"))
	require.InDelta(g.t, time.Minute, again.RequeueAfter, float64(time.Second), "one timer, no polling")
	require.Empty(g.t, g.events.all(), "a plugin that is starting is no news")
	g.clock.SetTime(g.clock.Now().Add(time.Minute))
	require.Zero(g.t, g.pass().RequeueAfter)
	require.Contains(g.t, g.events.all(), "Warning GPUSlicesMismatch Node gpu-1 offers nvidia.com/gpu=8, but nvidia.com/gpu=4 is planned")
	g.kubeletOffers("gpu-1", 4)
	g.pass()
	require.Contains(g.t, g.events.all(), "Normal GPUSlicesAsPlanned Node gpu-1 offers nvidia.com/gpu=4 as planned")

	g.label("gpu-1", platform.SharingLabel, "dedicated")
	g.pass()
	require.Contains(g.t, g.told("node.gpu-1"), "nvidia.com/gpu=1", "a pool by label")
	g.label("gpu-1", platform.SharingLabel, "huge")
	g.pass()
	require.Contains(g.t, g.told("node.gpu-1"), "nvidia.com/device-plugin.config=huge names no configuration; there is any, dedicated")
	require.Equal(g.t, "WrongConfig", g.state("node.gpu-1"))
	g.label("gpu-1", platform.SharingLabel, "")
	g.pass()
	require.Equal(g.t, "AsPlanned", g.state("node.gpu-1"))
}

// wrongConfigIsTold: somebody edits the ConfigMap that another writes (mode A).
func (g *gpus) wrongConfigIsTold() {
	g.t.Helper()
	g.sharing.Settings.ManagePolicy, g.sharing.Settings.Configs = false, nil
	generation := g.plugin().Generation
	good := g.config()
	bad := good.DeepCopy()
	bad.Data["any"] = strings.Replace(bad.Data["any"], "replicas: 4", "replicas: 0", 1)
	require.NoError(g.t, g.client.Update(g.ctx, bad))
	g.events.forget()
	g.pass()
	require.Contains(g.t, g.told("config"), `key "any": nvidia.com/gpu has 0 replicas, which the device plugin refuses`)
	require.Contains(g.t, g.told("config"), "goes on with the configuration it was started with")
	require.Contains(g.t, g.events.all(), "Warning GPUSharingWrong")
	require.Equal(g.t, generation, g.plugin().Generation, "never restarted into a broken configuration")

	good.ResourceVersion = ""
	require.NoError(g.t, g.client.Update(g.ctx, good))
	g.pass()
	require.Equal(g.t, "AsPlanned", g.state("config"))
	require.Contains(g.t, g.events.all(), "Normal GPUSharingCorrected")
	require.Equal(g.t, generation, g.plugin().Generation, "the content is what it was started with")
}

// conflictIsTold: what somebody else set differently stays theirs.
func (g *gpus) conflictIsTold() {
	g.t.Helper()
	theirs := newPolicy()
	require.NoError(g.t, unstructured.SetNestedField(theirs.Object, "theirs", "spec", "devicePlugin", "config", "default"))
	require.NoError(g.t, g.client.Apply(g.ctx, client.ApplyConfigurationFromUnstructured(theirs), client.FieldOwner("gitops"), client.ForceOwnership))
	g.restart(4)
	before := g.policy().GetResourceVersion()
	g.pass()
	require.Contains(g.t, g.told("config"), "ClusterPolicy cluster-policy is set by somebody else and was left alone")
	require.Contains(g.t, g.told("config"), "gitops")
	require.Equal(g.t, before, g.policy().GetResourceVersion())
	require.NoError(g.t, g.client.Delete(g.ctx, g.policy()))
	g.pass()
	require.Contains(g.t, g.told("config"), "there is no ClusterPolicy")
	require.True(g.t, isGone(g.client.Get(g.ctx, client.ObjectKey{Name: platform.DefaultClusterPolicy}, newPolicy())), "never made anew")
}

// asInstalled runs the real manager with the chart's permissions on a cluster
// where neither the kind nor the plugin is there yet: everything is noticed.
func (g *gpus) asInstalled() {
	g.t.Helper()
	for _, o := range []client.Object{g.plugin(), g.config()} {
		require.NoError(g.t, g.client.Delete(g.ctx, o))
	}
	g.plane.removeKind(g.t, gpusharing.PolicyCRD)
	registry := g.startOperator()
	g.ns = operatorNamespace

	require.Eventually(g.t, func() bool { return strings.Contains(g.told("config"), "is not installed") }, othersWork, glance, "degrades")
	require.NoError(g.t, g.plane.installCRDs(g.ctx, g.file(policyCRD), ""))
	require.NoError(g.t, g.client.Create(g.ctx, newPolicy()))
	require.Eventually(g.t, func() bool { return g.state("config") == "AsPlanned" }, othersWork, glance, "and heals without a restart")
	require.Equal(g.t, "replicas: 2", replicasLine(g.config().Data["any"]))
	require.NoError(g.t, g.client.Create(g.ctx, newPlugin()))
	require.Eventually(g.t, func() bool {
		return g.plugin().Spec.Template.Annotations[wire.AnnotationSharingHash] != ""
	}, othersWork, glance, "a new plugin is noticed")
	g.kubeletOffers("gpu-1", 2)
	require.Eventually(g.t, func() bool { return g.state("node.gpu-1") == "AsPlanned" }, othersWork, glance, "and so is what the node offers")
	in := installed{plane: g.plane, registry: registry}
	in.shows(g.t, 2, "vdi_gpu_slices", "state", "planned")
	in.shows(g.t, 2, "vdi_gpu_slices", "state", "allocatable")

	g.label("gpu-1", platform.SharingLabel, "huge")
	require.Eventually(g.t, func() bool { return g.wasTold("GPUSlicesMismatch", "gpu-1") }, othersWork, glance, "an event hangs on the status and names the node")
	in.wasNeverForbidden(g.t)
}

// startOperator runs the operator with the chart's permissions and settings.
func (g *gpus) startOperator() *prometheus.Registry {
	g.t.Helper()
	objects := chartObjects(g.t, "gpuSharing.enabled=true", "gpuSharing.managePolicy=true", "gpuSharing.namespace="+gpuNamespace, "gpuSharing.configs.any.replicas=2")
	g.plane.grant(g.t, objects)
	registry := prometheus.NewRegistry()
	options := run.Options{Namespace: operatorNamespace, Registry: registry}
	flags := flag.NewFlagSet(operatorName, flag.ContinueOnError)
	options.Register(flags)
	require.NoError(g.t, flags.Parse(argsOf(g.t, objects)))
	manager, err := run.New(g.ctx, g.plane.asOperator(g.t), options)
	require.NoError(g.t, err)
	ended := make(chan error, 1)
	running, stop := context.WithCancel(context.WithoutCancel(g.ctx))
	go func() { ended <- manager.Start(running) }()
	g.t.Cleanup(func() {
		stop()
		require.NoError(g.t, <-ended)
	})
	return registry
}

func (g *gpus) file(path string) string {
	root, err := repositoryRoot()
	require.NoError(g.t, err)
	return filepath.Join(root, path)
}

// --- what the GPU Operator, feature discovery and the kubelet do

func newPolicy() *unstructured.Unstructured {
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(schema.GroupVersionKind{Group: "nvidia.com", Version: "v1", Kind: "ClusterPolicy"})
	policy.SetName(platform.DefaultClusterPolicy)
	return policy
}

func newPlugin() *appsv1.DaemonSet {
	labels := map[string]string{"app": platform.DevicePluginDaemonSet}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: gpuNamespace, Name: platform.DevicePluginDaemonSet},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"theirs": "kept"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "plugin", Image: image}}},
			},
		},
	}
}

func (g *gpus) createNode(name string, cards, replicas int64) {
	g.t.Helper()
	require.NoError(g.t, g.client.Create(g.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": fmt.Sprint(cards),
	}}}))
	g.kubeletOffers(name, cards*replicas)
}

func (g *gpus) kubeletOffers(name string, slices int64) {
	g.t.Helper()
	n := &corev1.Node{}
	require.NoError(g.t, g.client.Get(g.ctx, client.ObjectKey{Name: name}, n))
	before := n.DeepCopy()
	n.Status.Allocatable = corev1.ResourceList{gpuResource: *resource.NewQuantity(slices, resource.DecimalSI)}
	require.NoError(g.t, g.client.Status().Patch(g.ctx, n, client.MergeFrom(before)))
}

func (g *gpus) label(name, key, value string) {
	g.t.Helper()
	n := &corev1.Node{}
	require.NoError(g.t, g.client.Get(g.ctx, client.ObjectKey{Name: name}, n))
	before := n.DeepCopy()
	n.Labels[key] = value
	require.NoError(g.t, g.client.Patch(g.ctx, n, client.MergeFrom(before)))
}

// --- what there is

func (g *gpus) policy() *unstructured.Unstructured {
	g.t.Helper()
	policy := newPolicy()
	require.NoError(g.t, g.client.Get(g.ctx, client.ObjectKeyFromObject(policy), policy))
	return policy
}

func (g *gpus) plugin() *appsv1.DaemonSet {
	g.t.Helper()
	plugin := newPlugin()
	require.NoError(g.t, g.client.Get(g.ctx, client.ObjectKeyFromObject(plugin), plugin))
	return plugin
}

func (g *gpus) config() *corev1.ConfigMap {
	g.t.Helper()
	config := &corev1.ConfigMap{}
	require.NoError(g.t, g.client.Get(g.ctx, client.ObjectKey{Namespace: gpuNamespace, Name: "time-slicing-config"}, config))
	return config
}

func (g *gpus) status() *corev1.ConfigMap {
	g.t.Helper()
	status := &corev1.ConfigMap{}
	err := g.client.Get(g.ctx, client.ObjectKey{Namespace: g.ns, Name: plan.StatusName}, status)
	require.NoError(g.t, client.IgnoreNotFound(err))
	return status
}

func (g *gpus) told(key string) string {
	return strings.Join(strings.Fields(g.status().Data[key]), " ")
}

func (g *gpus) state(key string) string {
	g.t.Helper()
	var told struct {
		State string `json:"state"`
	}
	require.NoError(g.t, yaml.Unmarshal([]byte(g.status().Data[key]), &told))
	return told.State
}

// versions stay when nobody writes. The DaemonSet's status is its controller's.
func (g *gpus) versions() []string {
	g.t.Helper()
	return []string{
		g.policy().GetResourceVersion(), fmt.Sprint(g.plugin().Generation), g.config().ResourceVersion, g.status().ResourceVersion,
	}
}

func (g *gpus) wasTold(reason, node string) bool {
	g.t.Helper()
	list := &eventsv1.EventList{}
	require.NoError(g.t, g.client.List(g.ctx, list, client.InNamespace(g.ns)))
	for _, e := range list.Items {
		if e.Reason == reason && e.Regarding.Name == plan.StatusName && e.Related != nil && e.Related.Name == node {
			return true
		}
	}
	return false
}

func ownedBy(o client.Object, manager string) string {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager == manager {
			return entry.FieldsV1.GetRawString()
		}
	}
	return ""
}

func replicasLine(text string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "replicas") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
