package session

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairqueue"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/status"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

const (
	// TemplateIndex finds the sessions of a template.
	TemplateIndex = "spec.template"
	// claimIndex finds the sessions and the pods that use a claim.
	claimIndex = "claim"
)

// Setup registers the controller with the manager. Only events that can change
// a decision wake it.
func (r *Reconciler) Setup(ctx context.Context, mgr ctrl.Manager, workers int) error {
	if err := r.index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).Named("session").
		For(&vdi.VDISession{}, builder.WithPredicates(predicate.Or(SpecChanged(), r.statusIsNotOurs()))).
		Watches(&corev1.Pod{}, together{r.owner(mgr)}, builder.WithPredicates(r.podChanged())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.waitForHomeOf), builder.WithPredicates(podOnHome())).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(sessionOfHome), builder.WithPredicates(r.claimChanged())).
		Watches(&corev1.Service{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&networkingv1.NetworkPolicy{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&policyv1.PodDisruptionBudget{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&vdi.VDITemplate{}, handler.EnqueueRequestsFromMapFunc(r.sessionsOfTemplate), builder.WithPredicates(SpecChanged())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: retry.Limiter(), NewQueue: r.newQueue})
	if r.isOIDC() {
		b = b.Watches(&corev1.ConfigMap{}, r.owner(mgr), builder.WithPredicates(r.childChanged()))
	}
	watching := servesRoutes(mgr)
	if watching { // no session is looked at before its route is in the cache
		for _, kind := range r.proxyKinds() {
			b = b.Watches(kind, r.owner(mgr), builder.WithPredicates(r.childChanged()))
		}
	}
	c, err := b.Build(r)
	if err != nil {
		return err
	}
	return errors.Join(r.watchRoutes(mgr, c, watching), r.watchStatementKeys(c), r.watchRelay(c), r.watchReleases(c), r.watchAnswers(c, workers))
}

// newQueue lets namespaces take turns, and in each the people.
func (r *Reconciler) newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return fairqueue.New(name, limiter, r.personOf)
}

// personOf is the user of a session in the cache. It never waits: while the cache is
// being filled, and of what is gone, nobody knows.
func (r *Reconciler) personOf(request reconcile.Request) string {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	s := &vdi.VDISession{}
	if err := r.Client.Get(now, request.NamespacedName, s, client.UnsafeDisableDeepCopy); err != nil {
		return ""
	}
	return s.Spec.User
}

// index makes the cache answer without looking through all sessions and pods.
func (r *Reconciler) index(ctx context.Context, indexer client.FieldIndexer) error {
	err := errors.Join(
		indexer.IndexField(ctx, &vdi.VDISession{}, TemplateIndex, func(o client.Object) []string {
			return []string{o.(*vdi.VDISession).Spec.Template}
		}),
		indexer.IndexField(ctx, &vdi.VDISession{}, claimIndex, func(o client.Object) []string {
			return []string{homes.ClaimName(o.(*vdi.VDISession))}
		}),
		indexer.IndexField(ctx, &corev1.Pod{}, claimIndex, func(o client.Object) []string {
			return homes.ClaimsOf(o.(*corev1.Pod))
		}),
	)
	r.indexed = err == nil
	return err
}

// onClaim selects what may use a claim. Without an index it selects everything
// in the namespace, so that the caller looks again.
func (r *Reconciler) onClaim(namespace, claim string) []client.ListOption {
	options := []client.ListOption{client.InNamespace(namespace), client.UnsafeDisableDeepCopy}
	if r.indexed {
		options = append(options, client.MatchingFields{claimIndex: claim})
	}
	return options
}

func (r *Reconciler) owner(mgr ctrl.Manager) handler.EventHandler {
	return handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &vdi.VDISession{}, handler.OnlyControllerOwner())
}

// sessionsOfTemplate wakes all sessions of a template: waiting ones heal,
// running ones learn that an update is pending.
func (r *Reconciler) sessionsOfTemplate(ctx context.Context, o client.Object) []reconcile.Request {
	return r.requests(ctx, client.MatchingFields{TemplateIndex: o.GetName()})
}

func (r *Reconciler) requests(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	list := &vdi.VDISessionList{}
	if err := r.Client.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // the cache answers; it fails only while it is shutting down
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

// sessionOfHome finds the session by the claim's instance label: a home has no owner.
func sessionOfHome(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[wire.LabelInstance]
	if name == "" || renderer.HomeClaimName(name) != o.GetName() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// waitForHomeOf are the other sessions that have the pod's home or wait for it.
func (r *Reconciler) waitForHomeOf(ctx context.Context, o client.Object) []reconcile.Request {
	pod := o.(*corev1.Pod)
	var waiting []reconcile.Request
	for _, claim := range homes.ClaimsOf(pod) {
		waiting = append(waiting, r.sessionsOn(ctx, pod.Namespace, claim, func(s *vdi.VDISession) bool { return s.Name != pod.Name })...)
	}
	return waiting
}

// sessionsOn are the sessions whose home is the claim, and of which that holds.
func (r *Reconciler) sessionsOn(ctx context.Context, namespace, claim string, which func(*vdi.VDISession) bool) []reconcile.Request {
	list := &vdi.VDISessionList{}
	if err := r.Client.List(ctx, list, r.onClaim(namespace, claim)...); err != nil {
		return nil // the cache answers; it fails only while it is shutting down
	}
	var found []reconcile.Request
	for i := range list.Items {
		if s := &list.Items[i]; homes.ClaimName(s) == claim && which(s) {
			found = append(found, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return found
}

// podOnHome lets pass that a pod is there, and that it is gone or has ended and so
// uses no home.
func podOnHome() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !desktop.Ended(e.ObjectOld.(*corev1.Pod)) && desktop.Ended(e.ObjectNew.(*corev1.Pod))
		},
	}
}

// SpecChanged lets pass another spec. Generations and versions alone do not show it
// where the cache has missed a state: there may be another object of that name, or
// one that the API server has gone back to and that was changed again.
func SpecChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld, e.ObjectNew
		return before.GetGeneration() != after.GetGeneration() || before.GetUID() != after.GetUID() ||
			!equality.Semantic.DeepEqual(specOf(before), specOf(after))
	}}
}

// appearedLate lets pass what has appeared in the cache long after it was made. Our own
// create is not news; but after a restore of the API server an object may be there again.
func (r *Reconciler) appearedLate(e event.CreateEvent) bool {
	return r.Clock.Since(e.Object.GetCreationTimestamp().Time) > lateAppearance
}

// lateAppearance is longer than a cache takes to show what was made.
const lateAppearance = 10 * time.Second

// podChanged lets pass what the status speaks of.
func (r *Reconciler) podChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: r.appearedLate,
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
			return !equality.Semantic.DeepEqual(desktop.News(before), desktop.News(after))
		},
	}
}

// stepsTogether is how long a step of a starting pod is waited with: the steps
// follow each other, and those that come within it are reported in one write.
const stepsTogether = 250 * time.Millisecond

// together lets the session of a pod that is not ready, yet or any more, wait for
// the pod's next step. Readiness and ends are looked at immediately.
type together struct{ handler.EventHandler }

// Update wakes the pod's session.
func (t together) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	if isUnsettled(e.ObjectNew.(*corev1.Pod)) {
		q = waitingQueue{q}
	}
	t.EventHandler.Update(ctx, e, q)
}

// isUnsettled reports whether more news of the pod are to be expected.
func isUnsettled(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && !desktop.Ready(pod) && !desktop.Ended(pod)
}

// waitingQueue adds later; what is added by somebody else meanwhile is not delayed.
type waitingQueue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Add adds after the time in which further steps are waited for.
func (q waitingQueue) Add(request reconcile.Request) { q.AddAfter(request, stepsTogether) }

// claimChanged wakes when a home is labelled, leaves, is gone or has lost its volume.
func (r *Reconciler) claimChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: r.appearedLate,
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*corev1.PersistentVolumeClaim), e.ObjectNew.(*corev1.PersistentVolumeClaim)
			return !equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
				(before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil) || homes.IsLost(before) != homes.IsLost(after)
		},
	}
}

// childChanged wakes when somebody edits or deletes a child.
func (r *Reconciler) childChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: r.appearedLate,
		UpdateFunc: func(e event.UpdateEvent) bool { return childDiffers(e.ObjectOld, e.ObjectNew) },
	}
}

func childDiffers(before, after client.Object) bool {
	same := equality.Semantic.DeepEqual(specOf(before), specOf(after)) &&
		equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels()) &&
		equality.Semantic.DeepEqual(before.GetAnnotations(), after.GetAnnotations()) &&
		equality.Semantic.DeepEqual(before.GetOwnerReferences(), after.GetOwnerReferences())
	return !same || (before.GetDeletionTimestamp() == nil) != (after.GetDeletionTimestamp() == nil)
}

// specOf is the part of a child that people and programs may change.
func specOf(o client.Object) any {
	switch o := o.(type) {
	case *vdi.VDISession:
		return o.Spec
	case *vdi.VDITemplate:
		return o.Spec
	case *corev1.Service:
		return o.Spec
	case *networkingv1.NetworkPolicy:
		return o.Spec
	case *policyv1.PodDisruptionBudget:
		return o.Spec
	case *corev1.ConfigMap:
		return []any{o.Data, o.BinaryData}
	case *ingressRoute:
		return o.Spec
	case *middleware:
		return o.Spec
	default:
		return o
	}
}

// watcher is a controller that is given one more thing to watch.
type watcher interface{ Watch(source.Source) error }

// wakeAll makes the controller look at all sessions whenever the channel says so.
func (r *Reconciler) wakeAll(sessions watcher, when <-chan event.GenericEvent, because string) error {
	all := func(ctx context.Context, _ client.Object) []reconcile.Request { return r.requests(ctx) }
	return sessions.Watch(namedSource{source.Channel(when, handler.EnqueueRequestsFromMapFunc(all)), because})
}

// namedSource is a source with a name that can be logged.
type namedSource struct {
	source.Source
	name string
}

// String is what the log says.
func (s namedSource) String() string { return s.name }

// statusIsNotOurs lets pass a status that this operator cannot have written just now: what
// somebody else has written, or what the API server has gone back to, is looked at.
func (r *Reconciler) statusIsNotOurs() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*vdi.VDISession), e.ObjectNew.(*vdi.VDISession)
			wrote, _ := r.written.Load(client.ObjectKeyFromObject(after))
			return r.Clock.Since(wrote).Abs() > ownWrite && !status.Equal(before.Status, after.Status)
		},
	}
}
