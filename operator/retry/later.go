package retry

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Later enqueues what a change touches a while after it: one look counts for all that happened
// meanwhile. Before is nil for what came, after for what went.
func Later(delay time.Duration, touches func(ctx context.Context, before, after client.Object) []types.NamespacedName) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	later := func(ctx context.Context, before, after client.Object, q queue) {
		for _, key := range touches(ctx, before, after) {
			q.AddAfter(reconcile.Request{NamespacedName: key}, delay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { later(ctx, nil, e.Object, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { later(ctx, e.Object, nil, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { later(ctx, e.ObjectOld, e.ObjectNew, q) },
	}
}

// All names all objects of a list that the cache has; none while it is shutting down.
func All(ctx context.Context, cache client.Reader, list client.ObjectList) (keys []types.NamespacedName) {
	if err := cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		keys = append(keys, client.ObjectKeyFromObject(o.(client.Object)))
		return nil
	})
	return keys
}
