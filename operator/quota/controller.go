// Package quota writes into every VDIQuota's status what the sessions have that it selects.
// It decides nothing: package fairshare does.
package quota

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/session"
)

// countDelay gathers the starts and ends of many sessions into one write.
const countDelay = 10 * time.Second

// Reconciler writes the status of quotas.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Use is what is used of a quota, once that is known.
	Use func(name string) (use fairshare.Use, known bool)
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock
}

// Reconcile writes one quota's status, if it differs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	q := &vdi.VDIQuota{}
	if err := r.Client.Get(ctx, req.NamespacedName, q); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	use, known := r.Use(q.Name)
	if !known {
		return ctrl.Result{RequeueAfter: countDelay}, nil
	}
	before := q.DeepCopy()
	q.Status = statusOf(q, use, metav1.NewTime(r.Clock.Now()))
	if equality.Semantic.DeepEqual(before.Status, q.Status) {
		return ctrl.Result{}, nil
	}
	err := r.Client.Status().Patch(ctx, q, client.MergeFrom(before), client.FieldOwner(session.FieldOwner))
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// statusOf computes a quota's status.
func statusOf(q *vdi.VDIQuota, use fairshare.Use, now metav1.Time) vdi.VDIQuotaStatus {
	st := *q.Status.DeepCopy()
	st.ObservedGeneration = q.Generation
	st.Used = vdi.QuotaUse{Sessions: use.Sessions, Running: use.Running, GPUSlices: use.GPUSlices}
	st.Waiting, st.People = use.Waiting, use.People
	c := metav1.Condition{
		Type: vdi.ConditionReady, Status: metav1.ConditionTrue, Reason: vdi.ReasonAsExpected,
		Message: "The quota counts", ObservedGeneration: q.Generation, LastTransitionTime: now,
	}
	if total := q.Spec.Total; total != nil {
		above(&c, "running desktops", total.Running, use.Running)
		above(&c, "GPU slices", total.GPUSlices, use.GPUSlices)
	}
	meta.SetStatusCondition(&st.Conditions, c)
	return st
}

// above says of what more is used than the quota lets people have: it was lowered, and stops
// nothing.
func above(c *metav1.Condition, what string, limit *int32, used int32) {
	if limit != nil && used > *limit {
		c.Reason = vdi.ReasonQuotaExceeded
		c.Message += fmt.Sprintf("; %d %s are in use, more than the %d of now: what runs goes on, and nothing starts before there is room", used, what, *limit)
	}
}

// Setup registers the controller with the manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("quota").
		Watches(&vdi.VDIQuota{}, later(), builder.WithPredicates(session.SpecChanged())).
		Watches(&vdi.VDISession{}, r.allLater()).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(r)
}

// allLater looks at all quotas a while after sessions came, went, or began or ended to wait
// or to run. There are few, and one look at each counts for all that happened meanwhile.
func (r *Reconciler) allLater() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	later := func(ctx context.Context, q queue) {
		list := &vdi.VDIQuotaList{}
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return // the cache answers; it fails only while it is shutting down
		}
		for i := range list.Items {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])}, countDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q queue) { later(ctx, q) },
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q queue) { later(ctx, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, after := e.ObjectOld.(*vdi.VDISession), e.ObjectNew.(*vdi.VDISession)
			if counts(before) != counts(after) {
				later(ctx, q)
			}
		},
	}
}

// later looks at a quota a while after it was changed: who counts reads it, too.
func later() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(o client.Object, q queue) {
		q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}, countDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(e.ObjectNew, q) },
	}
}

// counted is what of a session changes what is used.
type counted struct {
	phase           vdi.Phase
	accepted, waits bool
	pod             string
}

func counts(s *vdi.VDISession) counted {
	return counted{s.Status.Phase, len(s.Finalizers) > 0, s.Status.Queue != nil, s.Status.PodName}
}
