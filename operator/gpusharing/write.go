package gpusharing

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// writeConfig writes the ConfigMap where the values say how GPUs are shared.
func (r *Reconciler) writeConfig(ctx context.Context, p *pass) error {
	if !r.Settings.ManagePolicy {
		return nil
	}
	data := r.Settings.ConfigMapData()
	if p.config != nil && p.config.Annotations[wire.AnnotationSharingRendered] == platform.HashOf(data) && containsAll(p.config.Data, data) {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": wire.KindConfigMap}}
	u.SetNamespace(r.Settings.Namespace)
	u.SetName(r.Settings.ConfigMap)
	u.SetLabels(map[string]string{wire.LabelManagedBy: wire.Operator})
	u.SetAnnotations(map[string]string{wire.AnnotationSharingRendered: platform.HashOf(data)})
	_ = unstructured.SetNestedStringMap(u.Object, data, "data") // the object is empty: nothing can be in the way
	done, err := r.applyOurs(ctx, p, u)
	if done {
		p.data, p.wrote = data, true
	}
	return err
}

// containsAll says whether all of want is in have.
func containsAll(have, want map[string]string) bool {
	for key, text := range want {
		if have[key] != text {
			return false
		}
	}
	return true
}

// writePolicy points an existing ClusterPolicy to the ConfigMap, and touches
// nothing else of it.
func (r *Reconciler) writePolicy(ctx context.Context, p *pass) error {
	if p.policy == nil {
		p.addMissingPolicy(r.Settings.ManagePolicy, r.Settings.Policy)
		return nil
	}
	configMap, byDefault := policyConfig(p.policy)
	p.byDefault = byDefault
	switch {
	case configMap == r.Settings.ConfigMap && (byDefault == r.Settings.Default || !r.Settings.ManagePolicy):
		return nil
	case !r.Settings.ManagePolicy:
		p.addProblem("ClusterPolicy %s uses the configuration %q (spec.devicePlugin.config.name), not ConfigMap %s: set that field, or gpuSharing.configMap", r.Settings.Policy, configMap, r.Settings.ConfigMap)
		return nil
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(policyGVK)
	u.SetName(r.Settings.Policy)
	u.SetUID(p.policy.GetUID()) // never make one anew
	_ = unstructured.SetNestedStringMap(u.Object, map[string]string{
		"name": r.Settings.ConfigMap, "default": r.Settings.Default,
	}, "spec", "devicePlugin", "config") // the object is empty: nothing can be in the way
	done, err := r.applyOurs(ctx, p, u)
	if done {
		p.byDefault = r.Settings.Default
	}
	return err
}

func (p *pass) addMissingPolicy(managed bool, name string) {
	switch {
	case managed && !p.kindKnown:
		p.addProblem("the kind ClusterPolicy is not installed: install NVIDIA's GPU Operator, or switch gpuSharing.managePolicy off")
	case managed:
		p.addProblem("there is no ClusterPolicy %s: the GPU Operator is not set up", name)
	}
}

// applyOurs applies exactly the given fields. A field that somebody else sets
// differently stays theirs: two owners would overwrite each other for ever.
func (r *Reconciler) applyOurs(ctx context.Context, p *pass, u *unstructured.Unstructured) (done bool, err error) {
	what := u.GetKind() + " " + u.GetName()
	err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(FieldOwner))
	switch {
	case apierrors.IsConflict(err):
		p.addProblem("%s is set by somebody else and was left alone: %s. Remove it there, or switch gpuSharing.managePolicy off", what, oneLine(err))
		return false, nil
	case err != nil:
		p.addProblem("%s cannot be written: %s", what, oneLine(err))
		return false, fmt.Errorf("apply %s: %w", what, err)
	}
	logf.FromContext(ctx).Info("wrote GPU sharing", "object", what)
	return true, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// restartPlugin makes the device plugin read a changed configuration: the GPU
// Operator does not watch it. It never restarts into a configuration that some
// node would choke on, which would take the GPUs of that node away.
func (r *Reconciler) restartPlugin(ctx context.Context, p *pass) error {
	switch {
	case p.data == nil || p.wrote || p.plugin == nil || plan.RunsWith(p.plugin.Spec.Template.Annotations, p.data):
		return nil
	case p.broken:
		p.addProblem("the device plugin goes on with the configuration it was started with until this is corrected")
		return nil
	}
	hash := platform.HashOf(p.data)
	if err := r.annotate(ctx, p.plugin, hash); err != nil {
		p.addProblem("DaemonSet %s cannot be restarted: %s", platform.DevicePluginDaemonSet, oneLine(err))
		return err
	}
	logf.FromContext(ctx).Info("restarted the device plugin", "config", hash)
	return nil
}

func (r *Reconciler) annotate(ctx context.Context, plugin *appsv1.DaemonSet, hash string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": plugin.UID},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{wire.AnnotationSharingHash: hash}}}},
	})
	if err != nil {
		return err
	}
	target := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: plugin.Namespace, Name: plugin.Name}}
	err = r.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner))
	return client.IgnoreNotFound(err)
}
