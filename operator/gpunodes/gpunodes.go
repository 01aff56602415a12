// Package gpunodes knows what GPU feature discovery says about the cluster's
// nodes. It watches their metadata, keeps the labels of nodes with GPUs and
// nothing of the others, and reads and writes nothing else.
package gpunodes

import (
	"context"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Reader answers which GPUs the desktops of a template can land on. Nil: nobody
// reads the nodes, and none is known.
type Reader func(context.Context, vdi.VDITemplateSpec) ([]platform.GPUNode, error)

var nodes = schema.GroupVersionKind{Version: "v1", Kind: "Node"}

// Metadata is the kind that is watched.
func Metadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(nodes)
	return m
}

// CacheOptions say what the cache keeps of Metadata.
func CacheOptions() cache.ByObject {
	return cache.ByObject{Label: labels.Everything(), Transform: keepLabels}
}

// keepLabels of a node with GPUs: a template may select by any of them.
func keepLabels(o any) (any, error) {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	kept := Metadata()
	kept.Name, kept.UID, kept.ResourceVersion = m.Name, m.UID, m.ResourceVersion
	if _, hasGPU := platform.GPUNodeOf(m.Labels); hasGPU {
		kept.Labels = m.Labels
	}
	return kept, nil
}

// Watch lets the cache hold the nodes before any session is looked at.
func Watch(ctx context.Context, from cache.Cache) (Reader, error) {
	if _, err := from.GetInformer(ctx, Metadata()); err != nil {
		return nil, fmt.Errorf("watch nodes: %w", err)
	}
	return func(ctx context.Context, t vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
		return read(ctx, from, t)
	}, nil
}

func read(ctx context.Context, from client.Reader, t vdi.VDITemplateSpec) ([]platform.GPUNode, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(nodes.GroupVersion().WithKind(nodes.Kind + "List"))
	if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	all := make([]map[string]string, len(list.Items))
	for i := range list.Items {
		all[i] = list.Items[i].Labels
	}
	return platform.NodesFor(t, all), nil
}

// Changed lets pass what the cache keeps of a node: the rest is no news.
func Changed() predicate.Predicate {
	hasGPU := func(o client.Object) bool { return len(o.GetLabels()) > 0 }
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return hasGPU(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return hasGPU(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) },
	}
}
