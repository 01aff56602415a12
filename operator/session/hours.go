package session

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/usage"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// usage is what people have used.
func (r *Reconciler) usage() usage.Store {
	a := r.Config.Accounting
	return usage.Store{Client: r.Client, Live: r.Live, Owner: FieldOwner, Kept: accounting.Kept{Zone: a.Zone(), Months: a.MonthsKept()}}
}

// usageChanged gives the ledger what is written down of a person, and wakes their sessions whose
// end may be another because of that.
func (r *Reconciler) usageChanged() handler.Funcs {
	set := func(o client.Object, u *vdi.VDIUsage, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, key := range r.share.SetUsage(o.(*vdi.VDIUsage).Spec.User, u) {
			queue.Add(reconcile.Request{NamespacedName: key})
		}
	}
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { set(e.Object, e.Object.(*vdi.VDIUsage), q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			set(e.ObjectNew, e.ObjectNew.(*vdi.VDIUsage), q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { set(e.Object, nil, q) },
	}
}

// lostRuns says that there are runs whose end no pass has seen, or that could not be written down
// in time.
func (r *Reconciler) lostRuns() {
	if r.share.HasLost() {
		select {
		case r.lost <- struct{}{}:
		default: // that was said, or nobody listens
		}
	}
}

// keepUsage writes down what sessions have left that are gone, and puts old days into months and
// forgets old months once a day.
func (r *Reconciler) keepUsage(ctx context.Context) error {
	var again <-chan time.Time
	daily := time.After(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.lost:
			again = r.writeLost(ctx)
		case <-again:
			again = r.writeLost(ctx)
		case <-daily:
			r.foldUsage(ctx)
			daily = time.After(24 * time.Hour)
		}
	}
}

// writeLost writes down the runs of sessions that are gone, and says when to try again; nil:
// never.
func (r *Reconciler) writeLost(ctx context.Context) (again <-chan time.Time) {
	serverTime := sync.OnceValues(func() (time.Time, error) { return r.ServerTime(ctx) })
	for _, lost := range r.share.Lost() {
		if !r.Config.Accounting.Enabled && len(lost.Run.Quotas) == 0 && !r.share.LimitsHours() {
			continue
		}
		now, err := serverTime()
		if err == nil {
			run := lost.Run
			run.End = plan.Earlier(run.End, now)
			err = r.usage().Add(ctx, lost.User, run)
		}
		if err != nil {
			log.FromContext(ctx).Error(err, "A run could not be written down; it is tried again", "pod", lost.Run.UID)
			r.share.Lose(lost)
			again = time.After(verdict.DeniedRetry)
		}
	}
	return again
}

func (r *Reconciler) foldUsage(ctx context.Context) {
	now, err := r.ServerTime(ctx)
	if err == nil {
		err = r.usage().Fold(ctx, now)
	}
	if err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "What people have used is not put together; it is tried again tomorrow")
	}
}
