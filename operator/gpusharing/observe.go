package gpusharing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

var policyGVK = schema.GroupVersionKind{Group: "nvidia.com", Version: "v1", Kind: "ClusterPolicy"}

// pass is one reconciliation: what was observed, and what is wrong.
type pass struct {
	config    *corev1.ConfigMap          // nil: not there
	policy    *unstructured.Unstructured // nil: not there
	plugin    *appsv1.DaemonSet          // nil: not there
	kindKnown bool                       // the kind ClusterPolicy is served
	raw       []corev1.Node

	data      map[string]string // the configuration that holds after this pass
	byDefault string            // key for nodes without a label
	wrote     bool              // the ConfigMap was written and is not seen yet
	problems  []string          // what is wrong, in words
	nodes     []plan.Node
	broken    bool // a configuration in use cannot be read
}

// addProblem adds a sentence to the report.
func (p *pass) addProblem(words string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(words, args...))
}

// observe reads everything that matters, all of it from the cache.
func (r *Reconciler) observe(ctx context.Context) (*pass, error) {
	p := &pass{byDefault: r.Settings.Default}
	nodes := &corev1.NodeList{}
	err := errors.Join(
		r.Client.List(ctx, nodes),
		r.observeConfig(ctx, p),
		r.observePlugin(ctx, p),
		r.observePolicy(ctx, p),
	)
	if err != nil {
		return nil, fmt.Errorf("look at GPU sharing: %w", err)
	}
	p.raw = nodes.Items
	slices.SortFunc(p.raw, func(a, b corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return p, nil
}

func (r *Reconciler) observeConfig(ctx context.Context, p *pass) error {
	config := &corev1.ConfigMap{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Settings.Namespace, Name: r.Settings.ConfigMap}, config)
	if err == nil {
		p.config, p.data = config, config.Data
	}
	return client.IgnoreNotFound(err)
}

func (r *Reconciler) observePlugin(ctx context.Context, p *pass) error {
	plugin := &appsv1.DaemonSet{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Settings.Namespace, Name: platform.DevicePluginDaemonSet}, plugin)
	if err == nil {
		p.plugin = plugin
	}
	return client.IgnoreNotFound(err)
}

// observePolicy reads the ClusterPolicy. A cluster may lack its kind: then there
// is nothing to read, and a watch on the kind's definition enqueues a pass when it comes.
func (r *Reconciler) observePolicy(ctx context.Context, p *pass) error {
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(policyGVK)
	err := r.Client.Get(ctx, types.NamespacedName{Name: r.Settings.Policy}, policy)
	notCached := new(cache.ErrResourceNotCached)
	switch {
	case meta.IsNoMatchError(err) || errors.As(err, &notCached):
		return nil
	case apierrors.IsNotFound(err):
		p.kindKnown = true
		return nil
	case err == nil:
		p.kindKnown, p.policy = true, policy
	}
	return err
}

// policyConfig is what a ClusterPolicy says about the device plugin's configuration.
func policyConfig(policy *unstructured.Unstructured) (configMap, byDefault string) {
	configMap, _, _ = unstructured.NestedString(policy.Object, "spec", "devicePlugin", "config", "name")
	byDefault, _, _ = unstructured.NestedString(policy.Object, "spec", "devicePlugin", "config", "default")
	return configMap, byDefault
}

// plan computes every GPU node's slices from the configuration itself.
func (p *pass) plan(s platform.TimeSlicing) {
	planned := plan.Of(s, p.data, p.byDefault, p.raw)
	p.problems = append(p.problems, planned.Problems...)
	p.nodes, p.broken = planned.Nodes, planned.Broken
}
