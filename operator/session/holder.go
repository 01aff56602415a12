package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// One desktop writes to a claim at a time: ReadWriteOnce is per node, not per
// pod. Before every start a session becomes the claim's holder, by one write
// that is bound to the claim's resource version (or in the claim's CREATE), and
// stays it until its pod is gone and it is to run no longer. Only then is there
// one look at the pods that the API server knows on the claim: a desktop that
// was started before has its pod there, and one that starts meanwhile cannot
// become the holder.
//
// Operators of older versions know no holder: beside one of them only the
// leader's lease protects, and the pods that it has made.

// hold makes the session the holder of the claim, and returns a verdict while another
// desktop or pod has it.
func (r *Reconciler) hold(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	if r.held.is(p.Session, claim) {
		return nil
	}
	if err := r.inUseByKnownPod(ctx, p, claim); err != nil || p.Seen.Pod != nil {
		return err
	}
	holder, err := r.users().OtherHolder(ctx, p.Session, claim)
	if err != nil {
		return err
	}
	if holder != nil {
		return homes.HeldBy(claim.Name, holder)
	}
	before := claim.DeepCopy()
	homes.Hold(claim, p.Session.UID)
	if homes.MadeByOperator(claim) && homes.Left(claim) {
		logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
		homes.Take(claim)
	}
	r.released.Delete(client.ObjectKeyFromObject(p.Session)) // also if the answer is lost
	if err := r.patchClaim(ctx, before, claim); err != nil {
		return verdict.OfWrite(wire.KindPersistentVolumeClaim, err)
	}
	err = r.inUseByAnyPod(ctx, p, claim)
	var used *verdict.Verdict
	switch {
	case errors.As(err, &used): // whoever uses it may have to start again first
		return errors.Join(err, r.release(ctx, p.Session, claim))
	case err == nil && p.Seen.Pod == nil:
		r.held.remember(p.Session, claim)
	}
	return err
}

// inUseByKnownPod looks among the pods that are watched, which costs nothing.
// While the session waits for somebody else's pod already, which is not watched,
// it asks the API server before it writes anything.
func (r *Reconciler) inUseByKnownPod(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	if waitsForHome(p.Session) {
		return r.inUseByAnyPod(ctx, p, claim)
	}
	user, err := r.users().DesktopOn(ctx, p.Session, claim.Name)
	if err != nil || user == nil {
		return err
	}
	return homes.InUseBy(p.Session, claim.Name, user)
}

// inUseByAnyPod asks the API server itself, about every pod. Where the session's own is
// among them, this start is none.
func (r *Reconciler) inUseByAnyPod(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	other, own, err := r.users().PodsOn(ctx, p.Session, claim)
	if own != nil {
		r.seePod(p, own)
	}
	if err != nil || other == nil {
		return err
	}
	return homes.InUseBy(p.Session, claim.Name, other)
}

// users know who has a claim.
func (r *Reconciler) users() homes.Users {
	return homes.Users{Cache: r.Client, Live: r.Live, OnClaim: r.onClaim}
}

// waitsForHome reports whether the last look found the home in use.
func waitsForHome(s *vdi.VDISession) bool {
	return slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == vdi.ConditionHomeReady && c.Status == metav1.ConditionFalse && c.Reason == vdi.ReasonHomeInUse
	})
}

// releaseHomes makes the claims free that the session does not go on to use, once
// its pod is gone. Nothing depends on it: what fails is tried again, and a claim
// whose holder is gone is free.
func (r *Reconciler) releaseHomes(ctx context.Context, p *plan.Pass) error {
	next := ""
	if p.Decision.Want == plan.Run && p.Session.DeletionTimestamp == nil {
		next = homes.ClaimName(p.Session)
	}
	r.releaseAllBut(ctx, p, next)
	return nil
}

func (r *Reconciler) releaseAllBut(ctx context.Context, p *plan.Pass, next string) {
	if p.Seen.Pod != nil {
		return // it may still write
	}
	s := p.Session
	for _, name := range []string{renderer.HomeClaimName(s.Name), homes.RecordedClaimName(s), homes.ClaimName(s)} {
		if name == "" || name == next {
			continue
		}
		switch err := r.releaseNamed(ctx, p, name); {
		case err == nil:
		case apierrors.IsConflict(err):
			p.LookAgainAfter(cacheLag)
		case errors.Is(err, errOutdated):
			p.LookAgainAfter(longestLag)
		default:
			logf.FromContext(ctx).Error(err, "a home is not released", "claim", name)
			p.LookAgainAfter(verdict.DeniedRetry)
		}
	}
}

func (r *Reconciler) releaseNamed(ctx context.Context, p *plan.Pass, name string) error {
	last, known := r.released.of(p.Session, name)
	claim := p.Seen.Claim
	switch {
	case claim != nil && claim.Name == name:
		if known && claim.Annotations[wire.AnnotationHolder] == last {
			return nil
		}
		return r.letGoOf(ctx, p, claim)
	case known, name != homes.RecordedClaimName(p.Session) && name != homes.ClaimName(p.Session):
		return nil
	}
	claim = &corev1.PersistentVolumeClaim{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Session.Namespace, Name: name}, claim)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read home to release it: %w", err)
	}
	if homes.HolderOf(claim) != p.Session.UID {
		r.released.remember(p.Session, name, "")
		return nil
	}
	return r.letGoOf(ctx, p, claim)
}

// letGoOf makes a claim free that the session holds, if the session really is to run on it
// no longer.
func (r *Reconciler) letGoOf(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	if homes.HolderOf(claim) != p.Session.UID || claim.DeletionTimestamp != nil {
		return nil
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	return r.release(ctx, p.Session, claim)
}

// release makes a claim free that the session holds. One that is being deleted
// has nobody left to be free for.
func (r *Reconciler) release(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	if homes.HolderOf(claim) != s.UID || claim.DeletionTimestamp != nil {
		return nil
	}
	before := claim.DeepCopy()
	homes.Release(claim)
	return r.releaseBy(ctx, s, before, claim)
}

// releaseBy writes a claim that is free now, and wakes who waits for it.
func (r *Reconciler) releaseBy(ctx context.Context, s *vdi.VDISession, before, after *corev1.PersistentVolumeClaim) error {
	r.held.Delete(client.ObjectKeyFromObject(s))
	err := r.patchClaim(ctx, before, after)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	r.released.remember(s, before.Name, before.Annotations[wire.AnnotationHolder])
	if homes.HolderOf(before) != "" {
		r.wakeWaiting(ctx, before)
	}
	return nil
}

// patchClaim writes the very claim that was looked at.
func (r *Reconciler) patchClaim(ctx context.Context, before, after *corev1.PersistentVolumeClaim) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, after, patch, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("mark home %q: %w", before.Name, err)
	}
	return nil
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
	return sessions.Watch(namedSource{source.Channel(r.freed, handler.EnqueueRequestsFromMapFunc(r.waitForClaim)), "home released"})
}

func (r *Reconciler) waitForClaim(ctx context.Context, o client.Object) []reconcile.Request {
	claim := o.(*corev1.PersistentVolumeClaim)
	return r.sessionsOn(ctx, claim.Namespace, claim.Name, func(s *vdi.VDISession) bool { return s.UID != homes.HolderOf(claim) })
}
