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
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/fairqueue"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
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
	r.lost = make(chan struct{}, 1)
	if err := r.sessions().index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).Named("session").
		For(&vdi.VDISession{}, builder.WithPredicates(predicate.Or(SpecChanged(), orderChanged(), r.statusIsNotOurs()))).
		Watches(&corev1.Pod{}, together{r.owner(mgr)}, builder.WithPredicates(r.podChanged())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.sessions().waitForHomeOf), builder.WithPredicates(podOnHome())).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(sessionOfHome), builder.WithPredicates(r.claimChanged())).
		Watches(&corev1.Service{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&networkingv1.NetworkPolicy{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&policyv1.PodDisruptionBudget{}, r.owner(mgr), builder.WithPredicates(r.childChanged())).
		Watches(&vdi.VDITemplate{}, handler.EnqueueRequestsFromMapFunc(r.sessions().ofTemplate), builder.WithPredicates(SpecChanged())).
		Watches(&vdi.VDIUsage{}, r.usageChanged()).
		Watches(&vdi.VDIQuota{}, handler.EnqueueRequestsFromMapFunc(r.ofQuotas), builder.WithPredicates(SpecChanged())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: retry.Limiter(), NewQueue: r.newQueue})
	if r.logsIn() {
		b = b.Watches(&corev1.ConfigMap{}, r.owner(mgr), builder.WithPredicates(r.childChanged()))
	}
	watching := servesRoutes(mgr)
	if watching { // no session is looked at before its route is in the cache
		for _, kind := range r.cached().proxyKinds() {
			b = b.Watches(kind, r.owner(mgr), builder.WithPredicates(r.childChanged()))
		}
	}
	c, err := b.Build(r)
	if err != nil {
		return err
	}
	return errors.Join(mgr.Add(manager.RunnableFunc(r.keepUsage)), r.watchRoutes(mgr, c, watching), r.watchStatementKeys(c), r.watchRelay(c), r.watchReleases(c), r.watchRoom(c), r.watchAnswers(c, workers))
}

// newQueue lets namespaces take turns, and in each the people.
func (r *Reconciler) newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return fairqueue.New(name, limiter, r.sessions().personOf)
}

func (r *Reconciler) owner(mgr ctrl.Manager) handler.EventHandler {
	return handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &vdi.VDISession{}, handler.OnlyControllerOwner())
}

// sessionOfHome finds the session by the claim's instance label: a home has no owner.
func sessionOfHome(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[wire.LabelInstance]
	if name == "" || renderer.HomeClaimName(name) != o.GetName() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
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

// orderChanged lets pass another order to leave the node: an annotation makes no generation.
func orderChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetAnnotations()[wire.AnnotationDrain] != e.ObjectNew.GetAnnotations()[wire.AnnotationDrain]
	}}
}

// appearedLate lets pass what has appeared in the cache long after it was made. Our own
// create is not news; but after a restore of the API server an object may be there again.
func (r *Reconciler) appearedLate(e event.CreateEvent) bool {
	return r.Clock.Since(e.Object.GetCreationTimestamp().Time) > plan.LateAppearance
}

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
	case *vdi.VDIQuota:
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
	all := func(ctx context.Context, _ client.Object) []reconcile.Request { return r.sessions().requests(ctx) }
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

// watchStatementKeys wakes all sessions when the keys change: those that run get the
// new ones, those that wait for some start.
func (r *Reconciler) watchStatementKeys(sessions watcher) error {
	if !r.logsIn() || r.StatementKeys == nil {
		return nil
	}
	return r.wakeAll(sessions, r.StatementKeys.Changed(), "front door's keys")
}

// watchRelay wakes all sessions when the relay's secret changes: those that run
// get logins that it accepts, those that wait for it start.
func (r *Reconciler) watchRelay(sessions watcher) error {
	if r.Relay == nil {
		return nil
	}
	return r.wakeAll(sessions, r.Relay.Changed(), "TURN relay's secret")
}

// wakeWaiting makes the controller look at those who wait for a claim. Claims
// that an administrator made are not watched.
func (r *Reconciler) wakeWaiting(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	if r.freed == nil {
		return
	}
	select {
	case r.freed <- event.GenericEvent{Object: claim}:
	case <-ctx.Done():
	}
}

// watchReleases wakes the sessions that wait for a claim which was released.
func (r *Reconciler) watchReleases(sessions watcher) error {
	r.freed = make(chan event.GenericEvent)
	return sessions.Watch(namedSource{source.Channel(r.freed, handler.EnqueueRequestsFromMapFunc(r.sessions().waitForClaim)), "home released"})
}

// watchAnswers wakes the sessions that were waiting for a proxy or an agent.
func (r *Reconciler) watchAnswers(sessions watcher, workers int) error {
	r.waiting = background.Of(workers)
	return sessions.Watch(namedSource{source.Channel(r.waiting.Answered(), &handler.EnqueueRequestForObject{}), "answer of a proxy or an agent"})
}
