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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/fairshare"
	"github.com/vdi-platform/vdi-platform/operator/retry"
	"github.com/vdi-platform/vdi-platform/operator/session"
	"github.com/vdi-platform/vdi-platform/platform"
)

// countDelay gathers the starts and ends of many sessions into one write.
const countDelay = 10 * time.Second

// Reconciler writes the status of quotas.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Use is what is used of a quota; not known for a moment while a leader begins.
	Use func(ctx context.Context, name string) (use fairshare.Use, known bool, err error)
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock
}

// Reconcile writes one quota's status, if it differs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	q := &vdi.VDIQuota{}
	if err := r.Client.Get(ctx, req.NamespacedName, q); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	use, known, err := r.Use(ctx, q.Name)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case !known:
		return ctrl.Result{RequeueAfter: countDelay}, nil
	}
	before := q.DeepCopy()
	q.Status = statusOf(q, use, metav1.NewTime(r.Clock.Now()))
	if equality.Semantic.DeepEqual(before.Status, q.Status) {
		return ctrl.Result{}, nil
	}
	err = r.Client.Status().Patch(ctx, q, client.MergeFrom(before), client.FieldOwner(session.FieldOwner))
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
	if l := q.Spec.PerUser; l != nil && l.GPUHours != nil {
		if _, err := platform.TimeZone(l.GPUHours.TimeZone); err != nil {
			c.Status, c.Reason = metav1.ConditionFalse, vdi.ReasonInvalidValues
			c.Message += fmt.Sprintf("; but spec.perUser.gpuHours.timeZone: %v. Until then its days are those of UTC", err)
		}
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
		Watches(&vdi.VDIQuota{}, retry.Later(countDelay, itself), builder.WithPredicates(session.SpecChanged())).
		Watches(&vdi.VDISession{}, retry.Later(countDelay, r.afterSession)).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(r)
}

// afterSession are all quotas, where a session came, went, or began or ended to wait or to run:
// there are few.
func (r *Reconciler) afterSession(ctx context.Context, before, after client.Object) []types.NamespacedName {
	was, isSession := before.(*vdi.VDISession)
	is, isThere := after.(*vdi.VDISession)
	if isSession && isThere && counts(was) == counts(is) {
		return nil
	}
	return retry.All(ctx, r.Client, &vdi.VDIQuotaList{})
}

// itself is a quota that was changed: who counts reads it, too.
func itself(_ context.Context, _, after client.Object) []types.NamespacedName {
	if after == nil {
		return nil
	}
	return []types.NamespacedName{client.ObjectKeyFromObject(after)}
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
