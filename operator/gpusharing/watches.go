package gpusharing

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/vdi-platform/vdi-platform/operator/gpusharing/plan"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/platform"
)

// PolicyCRD defines the kind ClusterPolicy.
const PolicyCRD = "clusterpolicies.nvidia.com"

// servingDelay is how long a definition may take to be served.
const servingDelay = 2 * time.Second

// Setup registers the controller. It has a cache of its own: nodes and the GPU
// Operator's objects lie outside the namespaces that sessions live in, and only
// a few fields of them are kept.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	gpus, err := cluster.New(mgr.GetConfig(), func(o *cluster.Options) {
		o.Scheme = mgr.GetScheme()
		o.Cache = r.cacheOptions()
		o.Client.Cache = &client.CacheOptions{Unstructured: true}
	})
	if err != nil {
		return fmt.Errorf("build cache of GPU sharing: %w", err)
	}
	if err := mgr.Add(gpus); err != nil {
		return err
	}
	r.Client, r.Live = gpus.GetClient(), gpus.GetAPIReader()
	c, err := controller.New("gpusharing", mgr, controller.Options{Reconciler: r, RateLimiter: retry.Limiter()})
	if err != nil {
		return err
	}
	r.watchPolicy = policyWatcher(gpus, c)
	return r.watch(gpus.GetCache(), c)
}

func (r *Reconciler) watch(from cache.Cache, c controller.Controller) error {
	for _, o := range []client.Object{&corev1.ConfigMap{}, &appsv1.DaemonSet{}, &corev1.Node{}, definition()} {
		if err := c.Watch(source.Kind(from, o, enqueueSharing(), changed())); err != nil {
			return err
		}
	}
	// A cluster may have none of these objects yet, and is reconciled all the same.
	return c.Watch(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(sharingRequest())
		return nil
	}))
}

// sharingRequest is the one request: sharing is reconciled as a whole.
func sharingRequest() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: "gpu-sharing"}}
}

func enqueueSharing() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{sharingRequest()}
	})
}

// changed lets pass what the cache keeps of an object: the rest does not matter.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.DeepCopyObject().(client.Object), e.ObjectNew.DeepCopyObject().(client.Object)
		before.SetResourceVersion("")
		after.SetResourceVersion("")
		return !equality.Semantic.DeepEqual(before, after) || isDefinition(after)
	}}
}

func definition() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return m
}

// isDefinition: that a kind is served stands in its definition's status, which
// is not kept.
func isDefinition(o client.Object) bool {
	_, yes := o.(*metav1.PartialObjectMetadata)
	return yes
}

// policyWatcher starts to watch the ClusterPolicy once its kind is installed: a
// cluster without the GPU Operator must not keep ours from starting, and one
// that comes later must not need a restart.
func policyWatcher(gpus cluster.Cluster, c controller.Controller) func() (time.Duration, error) {
	watching := false
	return func() (time.Duration, error) {
		if watching {
			return 0, nil
		}
		err := gpus.GetClient().Get(context.Background(), types.NamespacedName{Name: PolicyCRD}, definition())
		if err != nil {
			return 0, client.IgnoreNotFound(err)
		}
		if _, err := gpus.GetRESTMapper().RESTMapping(policyGVK.GroupKind(), policyGVK.Version); err != nil {
			return servingDelay, nil // defined, not served yet
		}
		policy := &unstructured.Unstructured{}
		policy.SetGroupVersionKind(policyGVK)
		if err := c.Watch(source.Kind(gpus.GetCache(), client.Object(policy), enqueueSharing(), changed())); err != nil {
			return 0, err
		}
		watching = true
		return 0, nil
	}
}

// ensurePolicyWatch starts the watch that may not be possible at the start.
func (r *Reconciler) ensurePolicyWatch() (time.Duration, error) {
	if r.watchPolicy == nil {
		return 0, nil
	}
	return r.watchPolicy()
}

// cacheOptions name the few objects that are watched, and what is kept of them.
func (r *Reconciler) cacheOptions() cache.Options {
	one := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	inOperators := map[string]cache.Config{r.Settings.Namespace: {}}
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		// The ClusterPolicy is not named below: its kind may be installed later.
		DefaultTransform: keepPluginConfig,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: {Namespaces: inOperators, Field: one(r.Settings.ConfigMap)},
			&appsv1.DaemonSet{}: {Namespaces: inOperators, Field: one(platform.DevicePluginDaemonSet), Transform: keepTemplateAnnotations},
			&corev1.Node{}:      {Transform: keepGPUs},
			definition():        {Field: one(PolicyCRD)},
		},
	}
}

// keepTemplateAnnotations of the device plugin's DaemonSet: they say which
// configuration it was started with.
func keepTemplateAnnotations(o any) (any, error) {
	d, ok := o.(*appsv1.DaemonSet)
	if !ok {
		return o, nil
	}
	kept := &appsv1.DaemonSet{ObjectMeta: identityOf(d)}
	kept.Spec.Template.Annotations = d.Spec.Template.Annotations
	return kept, nil
}

// keepGPUs of a node: its GPU labels and what it offers of NVIDIA's resources.
func keepGPUs(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	kept := &corev1.Node{ObjectMeta: identityOf(n)}
	kept.Labels, kept.Status.Allocatable = map[string]string{}, corev1.ResourceList{}
	for label, value := range n.Labels {
		if strings.HasPrefix(label, plan.VendorPrefix) {
			kept.Labels[label] = value
		}
	}
	for resource, amount := range n.Status.Allocatable {
		if strings.HasPrefix(string(resource), plan.VendorPrefix) {
			kept.Status.Allocatable[resource] = amount
		}
	}
	return kept, nil
}

// keepPluginConfig of a ClusterPolicy, which is large; of the rest all but the
// managed fields.
func keepPluginConfig(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return cache.TransformStripManagedFields()(o)
	}
	kept := &unstructured.Unstructured{}
	kept.SetGroupVersionKind(u.GroupVersionKind())
	kept.SetName(u.GetName())
	kept.SetUID(u.GetUID())
	kept.SetResourceVersion(u.GetResourceVersion())
	configMap, byDefault := policyConfig(u)
	return kept, unstructured.SetNestedStringMap(kept.Object, map[string]string{"name": configMap, "default": byDefault}, "spec", "devicePlugin", "config")
}

func identityOf(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}
