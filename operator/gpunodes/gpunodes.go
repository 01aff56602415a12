// Package gpunodes knows what the cluster's nodes offer, and what GPU feature
// discovery says about them. It watches the nodes, keeps what they have for pods
// and the labels of those with GPUs, and reads and writes nothing else.
package gpunodes

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Reader answers what the cluster's nodes have. Nil: nobody reads them, and
// nothing is known.
type Reader interface {
	// GPUs are those that the desktops of a template can land on.
	GPUs(ctx context.Context, t vdi.VDITemplateSpec) ([]platform.GPUNode, error)
	// Most is the most of a resource that one node has for pods, in use or not;
	// zero where none has it. known is false while no node is known at all.
	Most(ctx context.Context, name corev1.ResourceName) (most resource.Quantity, known bool, err error)
}

// CacheOptions say what the cache keeps of nodes.
func CacheOptions() cache.ByObject {
	return cache.ByObject{Label: labels.Everything(), Transform: trim}
}

// trim keeps of a node what it has for pods and, of one with GPUs, all labels: a
// template may select by any of them.
func trim(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil // the last state of a node that was deleted unseen
	}
	kept := &corev1.Node{Status: corev1.NodeStatus{Allocatable: n.Status.Allocatable}}
	kept.Name, kept.UID, kept.ResourceVersion = n.Name, n.UID, n.ResourceVersion
	if _, hasGPU := platform.GPUNodeOf(n.Labels); hasGPU {
		kept.Labels = n.Labels
	}
	return kept, nil
}

// Watch lets the cache hold the nodes before any session is looked at.
func Watch(ctx context.Context, from cache.Cache) (Reader, error) {
	if _, err := from.GetInformer(ctx, &corev1.Node{}); err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	return reader{from}, nil
}

// reader answers from the cache.
type reader struct{ from client.Reader }

// list gives nodes whose maps are the cache's own: nobody may write to them.
func (r reader) list(ctx context.Context) ([]corev1.Node, error) {
	list := &corev1.NodeList{}
	if err := r.from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	return list.Items, nil
}

func (r reader) GPUs(ctx context.Context, t vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
	nodes, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]map[string]string, len(nodes))
	for i := range nodes {
		all[i] = nodes[i].Labels
	}
	return platform.NodesFor(t, all), nil
}

func (r reader) Most(ctx context.Context, name corev1.ResourceName) (most resource.Quantity, known bool, err error) {
	nodes, err := r.list(ctx)
	if err != nil {
		return most, false, err
	}
	for i := range nodes {
		if has := nodes[i].Status.Allocatable[name]; has.Cmp(most) > 0 {
			most = has
		}
	}
	return most.DeepCopy(), len(nodes) > 0, nil
}

// Changed lets pass what templates depend on: the labels that the cache keeps,
// and extended resources. A heartbeat or the memory of a node is no news.
func Changed() predicate.Predicate {
	matters := func(o client.Object) bool { return len(o.GetLabels()) > 0 || len(extended(o)) > 0 }
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return matters(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return matters(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) ||
				!maps.EqualFunc(extended(e.ObjectOld), extended(e.ObjectNew), resource.Quantity.Equal)
		},
	}
}

// extended are the resources that a device plugin or an administrator brought:
// their names have a domain. None of one is as good as no such resource.
func extended(o client.Object) corev1.ResourceList {
	n, ok := o.(*corev1.Node)
	if !ok {
		return nil
	}
	found := corev1.ResourceList{}
	for name, amount := range n.Status.Allocatable {
		if strings.Contains(string(name), "/") && !amount.IsZero() {
			found[name] = amount
		}
	}
	return found
}
