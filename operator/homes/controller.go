// Package homes looks after homes that their sessions have left behind. It
// lists them by a label and, where the session or its template said how long
// they are kept, announces their end and carries it out.
//
// It must never touch a claim that the operator did not make, that a session
// has, or that a pod uses, and in doubt it keeps. Nothing is polled: a look is
// caused by an event or by one timer set to the next deadline.
package homes

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// FieldOwner of everything this controller writes.
const FieldOwner = "vdi-operator-homes"

// changedRetry is how soon a claim is looked at again that changed under our hands.
const changedRetry = 50 * time.Millisecond

// Reconciler looks after homes.
type Reconciler struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server itself: what is deleted is looked at there first.
	Live client.Reader
	// Clock is the time; a fake one in tests.
	Clock clock.PassiveClock
	// ServerTime asks the API server for its time. Warnings and deletions are
	// confirmed against it, so that a clock that jumps loses nothing.
	ServerTime func(context.Context) (time.Time, error)
	// Events records what happened, for people.
	Events events.EventRecorder

	indexed bool // the cache finds sessions by the claim that they name
}

// Reconcile looks at one home.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.Client.Get(ctx, req.NamespacedName, claim); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	gone, err := r.sessionGone(ctx, r.Client, claim)
	if err != nil {
		return ctrl.Result{}, err
	}
	d := kept.Decide(claim, gone, r.Clock.Now())
	if d.Want != kept.Keep {
		d, err = r.act(ctx, req)
	}
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: changedRetry}, nil // somebody changed the claim meanwhile
	}
	return ctrl.Result{RequeueAfter: d.LookAgain}, client.IgnoreNotFound(err)
}

// act decides again from what the API server itself says, its clock included,
// and does it.
func (r *Reconciler) act(ctx context.Context, req ctrl.Request) (kept.Decision, error) {
	now, err := r.ServerTime(ctx)
	if err != nil {
		return kept.Decision{}, fmt.Errorf("confirm the end of a home against the API server's time: %w", err)
	}
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.Live.Get(ctx, req.NamespacedName, claim); err != nil {
		return kept.Decision{}, fmt.Errorf("read home: %w", err)
	}
	gone, err := r.sessionGone(ctx, r.Live, claim)
	if err != nil {
		return kept.Decision{}, err
	}
	switch d := kept.Decide(claim, gone, now); d.Want {
	case kept.List:
		return r.leave(ctx, claim, now, 0)
	case kept.Warn:
		return r.warn(ctx, claim, now, d.EndsAt)
	case kept.Delete:
		return r.end(ctx, claim, now)
	default:
		return d, nil // our clock was ahead, or our knowledge old
	}
}

// sessionGone reports whether no session has the home: none of its user has its
// name or names the claim as its existing one. A stranger's could not use it.
func (r *Reconciler) sessionGone(ctx context.Context, from client.Reader, claim *corev1.PersistentVolumeClaim) (bool, error) {
	name := kept.SessionOf(claim)
	if name == "" {
		return false, nil // nobody's home is nobody's to end
	}
	own := &vdi.VDISession{}
	err := from.Get(ctx, client.ObjectKey{Namespace: claim.Namespace, Name: name}, own)
	if client.IgnoreNotFound(err) != nil || (err == nil && isOf(claim, own)) {
		return false, err
	}
	others := &vdi.VDISessionList{}
	which := []client.ListOption{client.InNamespace(claim.Namespace), client.UnsafeDisableDeepCopy}
	if r.indexed && from == client.Reader(r.Client) { // or thousands of homes would each look through all sessions
		which = append(which, client.MatchingFields{existingIndex: claim.Name})
	}
	if err := from.List(ctx, others, which...); err != nil {
		return false, fmt.Errorf("list sessions: %w", err)
	}
	return !slices.ContainsFunc(others.Items, func(s vdi.VDISession) bool {
		return s.Spec.Persistence.ExistingClaim == claim.Name && isOf(claim, &s)
	}), nil
}

// isOf reports whether the home is of the session's user.
func isOf(claim *corev1.PersistentVolumeClaim, s *vdi.VDISession) bool {
	return claim.Labels[wire.LabelUser] == platform.Identity(s.Spec.User)
}

// leave marks a home that nobody has.
func (r *Reconciler) leave(ctx context.Context, claim *corev1.PersistentVolumeClaim, now time.Time, keep time.Duration) (kept.Decision, error) {
	return r.write(ctx, claim, now, func() { kept.Leave(claim, now, keep) })
}

// warn announces the end of a home. The event comes first: an announcement that
// is on record was made.
func (r *Reconciler) warn(ctx context.Context, claim *corev1.PersistentVolumeClaim, now, end time.Time) (kept.Decision, error) {
	r.Events.Eventf(claim, nil, corev1.EventTypeWarning, "HomeDeletionSoon", "Announce",
		"The session %s left this home on %s; it is deleted on %s or soon after. A session of the same name and user takes it back; without the annotation %s it is kept for ever",
		kept.SessionOf(claim), claim.Annotations[wire.AnnotationRetainedSince], kept.Stamp(end), wire.AnnotationRetainFor)
	logf.FromContext(ctx).Info("deletion of a home announced", "claim", claim.Name)
	return r.write(ctx, claim, now, func() { claim.Annotations[wire.AnnotationDeletionWarned] = kept.Stamp(now) })
}

// end deletes a home whose time is over, unless a pod uses it: then its time
// begins anew. The delete carries UID and resource version, so that a session
// that takes the home meanwhile wins.
func (r *Reconciler) end(ctx context.Context, claim *corev1.PersistentVolumeClaim, now time.Time) (kept.Decision, error) {
	user, err := r.podOn(ctx, claim)
	if err != nil {
		return kept.Decision{}, err
	}
	if user != "" {
		r.Events.Eventf(claim, nil, corev1.EventTypeNormal, "HomeInUse", "Keep",
			"The time of this home is over, but the pod %s uses it: its time begins anew", user)
		m, _ := kept.MarkOf(claim)
		return r.leave(ctx, claim, now, m.For)
	}
	err = r.Client.Delete(ctx, claim, client.Preconditions{UID: &claim.UID, ResourceVersion: &claim.ResourceVersion})
	if err != nil {
		return kept.Decision{}, fmt.Errorf("delete home %q: %w", claim.Name, err)
	}
	r.Events.Eventf(claim, nil, corev1.EventTypeWarning, "HomeDeleted", "Delete",
		"The session %s left this home on %s, to be kept for %s: it was deleted",
		kept.SessionOf(claim), claim.Annotations[wire.AnnotationRetainedSince], claim.Annotations[wire.AnnotationRetainFor])
	logf.FromContext(ctx).Info("home deleted at the end of its time", "claim", claim.Name)
	return kept.Decision{Want: kept.Keep}, nil
}

// podOn is the name of a pod that uses the claim. Every pod counts, also those
// that the operator did not make and does not watch.
func (r *Reconciler) podOn(ctx context.Context, claim *corev1.PersistentVolumeClaim) (string, error) {
	pods := &corev1.PodList{}
	if err := r.Live.List(ctx, pods, client.InNamespace(claim.Namespace)); err != nil {
		return "", fmt.Errorf("list pods that use home %q: %w", claim.Name, err)
	}
	for i := range pods.Items {
		if uses(&pods.Items[i], claim.Name) {
			return pods.Items[i].Name, nil
		}
	}
	return "", nil
}

// ClaimsOf are the names of the claims that a pod mounts.
func ClaimsOf(pod *corev1.Pod) []string {
	var claims []string
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			claims = append(claims, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return claims
}

// write changes the very claim that was looked at and returns what comes next.
func (r *Reconciler) write(ctx context.Context, claim *corev1.PersistentVolumeClaim, now time.Time, change func()) (kept.Decision, error) {
	before := claim.DeepCopy()
	change()
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, claim, patch, client.FieldOwner(FieldOwner)); err != nil {
		return kept.Decision{}, fmt.Errorf("mark home %q: %w", claim.Name, err)
	}
	return kept.Decide(claim, true, now), nil
}
