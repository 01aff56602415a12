package session

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// RouteCRD is the one definition the operator looks at.
const RouteCRD = "ingressroutes.traefik.io"

// routeWatcher starts to watch the proxy's routes once their kind is installed: a
// cluster without Traefik must not keep the operator from starting, and a Traefik
// that comes later must not need a restart. Nor must one that was removed and
// installed again, which has taken all routes with it.
type routeWatcher struct {
	mgr        ctrl.Manager
	sessions   *Reconciler
	controller controller.Controller
	wake       chan event.GenericEvent

	watching bool
	found    types.UID // the definition that was last seen
	served   types.UID // the one of which all sessions know
	since    time.Time // when they came to know
	relisted types.UID // the one whose routes are all in the cache again
}

// relistedAfter is when a watch has certainly taken up with a new definition: while
// there was none it tried again every 30 to 60 s at most (client-go, tools/cache).
// What was deleted until then has sent no event.
const relistedAfter = 90 * time.Second

// servesRoutes reports whether the proxy's kind is installed.
func servesRoutes(mgr ctrl.Manager) bool {
	_, err := mgr.GetRESTMapper().RESTMapping(routeKind.GroupKind(), routeKind.Version)
	return err == nil
}

func (r *Reconciler) watchRoutes(mgr ctrl.Manager, sessions controller.Controller, watching bool) error {
	w := &routeWatcher{mgr: mgr, sessions: r, controller: sessions, watching: watching, wake: make(chan event.GenericEvent, 1)}
	if err := r.wakeAll(sessions, w.wake, "route kind installed"); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("route-kind").
		For(newDefinition(), builder.OnlyMetadata).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(w)
}

func newDefinition() *metav1.PartialObjectMetadata {
	definition := &metav1.PartialObjectMetadata{}
	definition.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return definition
}

// Reconcile wakes all sessions when the kind is served by another definition than
// before. What is defined is served within a moment, of which no event comes.
func (w *routeWatcher) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	definition := newDefinition()
	if err := w.mgr.GetClient().Get(ctx, req.NamespacedName, definition); err != nil || req.Name != RouteCRD {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	switch {
	case w.watching && w.served == "": // it was there when the operator started
		w.served, w.relisted = definition.UID, definition.UID
		return ctrl.Result{}, nil
	case w.relisted == definition.UID:
		return ctrl.Result{}, nil
	case w.served == definition.UID:
		return w.wakeAgain(definition.UID)
	case w.found != definition.UID, !servesRoutes(w.mgr):
		w.found = definition.UID
		return ctrl.Result{RequeueAfter: verdict.OwnerGoneRetry}, nil
	}
	late := !w.watching
	if err := w.watch(); err != nil {
		return ctrl.Result{}, err
	}
	if late { // a new watch begins with a list
		w.relisted = definition.UID
	}
	w.served, w.since = definition.UID, time.Now()
	w.wakeAll()
	return ctrl.Result{RequeueAfter: relistedAfter}, nil
}

// wakeAgain wakes all sessions once more when the watch has taken up.
func (w *routeWatcher) wakeAgain(definition types.UID) (ctrl.Result, error) {
	if left := relistedAfter - time.Since(w.since); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	w.relisted = definition
	w.wakeAll()
	return ctrl.Result{}, nil
}

func (w *routeWatcher) wakeAll() {
	w.wake <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}
}

// watch starts the watches, once: they outlive their definitions.
func (w *routeWatcher) watch() error {
	if w.watching {
		return nil
	}
	for _, kind := range w.sessions.cached().proxyKinds() {
		if err := w.controller.Watch(source.Kind(w.mgr.GetCache(), kind, w.sessions.owner(w.mgr), w.sessions.childChanged())); err != nil {
			return err
		}
	}
	w.watching = true
	return nil
}
