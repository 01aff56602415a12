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
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
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
	if err := r.heldByOther(ctx, p.Session, claim); err != nil {
		return err
	}
	before := claim.DeepCopy()
	homes.Hold(claim, p.Session.UID)
	if homes.MadeByOperator(claim) && homes.Left(claim) {
		logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
		homes.Take(claim)
	}
	r.released.delete(client.ObjectKeyFromObject(p.Session)) // also if the answer is lost
	if err := r.patchClaim(ctx, before, claim); err != nil {
		return verdict.OfWrite(wire.KindPersistentVolumeClaim, err)
	}
	err := r.inUseByAnyPod(ctx, p, claim)
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
	user, err := r.desktopOn(ctx, p.Session, claim.Name)
	if err != nil || user == nil {
		return err
	}
	return inUse(p.Session, claim.Name, user)
}

// desktopOn is a desktop of another session that is known to use the claim.
func (r *Reconciler) desktopOn(ctx context.Context, s *vdi.VDISession, claim string) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	which := append(r.onClaim(s.Namespace, claim), client.MatchingLabels{wire.LabelName: wire.NameSession})
	if err := r.Client.List(ctx, pods, which...); err != nil {
		return nil, fmt.Errorf("list desktops on home %q: %w", claim, err)
	}
	return otherOn(pods.Items, s, claim), nil
}

// podsPerPage bounds the memory that a look at all pods of a namespace takes.
const podsPerPage = 250

// inUseByAnyPod asks the API server itself, about every pod. The session's own may
// be among them, which the cache does not show yet or which has lost its labels:
// then this start is none.
func (r *Reconciler) inUseByAnyPod(ctx context.Context, p *plan.Pass, claim *corev1.PersistentVolumeClaim) error {
	pods := &corev1.PodList{}
	for more := true; more; more = pods.Continue != "" {
		page := []client.ListOption{client.InNamespace(claim.Namespace), client.Limit(podsPerPage), client.Continue(pods.Continue)}
		pods = &corev1.PodList{}
		if err := r.Live.List(ctx, pods, page...); err != nil {
			return fmt.Errorf("list pods that use home %q: %w", claim.Name, err)
		}
		if user := otherOn(pods.Items, p.Session, claim.Name); user != nil {
			return inUse(p.Session, claim.Name, user)
		}
		own := slices.IndexFunc(pods.Items, func(pod corev1.Pod) bool {
			return pod.Name == p.Session.Name && metav1.IsControlledBy(&pod, p.Session)
		})
		if own >= 0 {
			r.seePod(p, &pods.Items[own])
		}
	}
	return nil
}

// otherOn is a pod that uses the claim and is not the session's.
func otherOn(pods []corev1.Pod, s *vdi.VDISession, claim string) *corev1.Pod {
	for i := range pods {
		if pod := &pods[i]; !desktop.Ended(pod) && slices.Contains(homes.ClaimsOf(pod), claim) && !metav1.IsControlledBy(pod, s) {
			return pod
		}
	}
	return nil
}

// inUse is the verdict until the user of a home ends: for a desktop of ours its end
// wakes us, of others nobody reports it. It may be the pod of a former session of
// the same name.
func inUse(s *vdi.VDISession, claim string, pod *corev1.Pod) error {
	if pod.Name == s.Name {
		return ownedBy(s, pod, wire.KindPod)
	}
	if pod.Labels[wire.LabelName] == wire.NameSession && pod.Labels[wire.LabelManagedBy] == wire.Operator {
		return homes.InUse(claim, fmt.Sprintf("desktop %q", pod.Name))
	}
	h := homes.InUse(claim, fmt.Sprintf("pod %q, which is no desktop of this platform", pod.Name))
	h.Retry = verdict.DeniedRetry
	return h
}

// heldByOther returns a verdict while another session is the holder. Its release wakes us;
// the retry is for a holder that goes without one.
func (r *Reconciler) heldByOther(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	holder, err := r.otherHolder(ctx, s, claim)
	if err != nil || holder == nil {
		return err
	}
	h := homes.InUse(claim.Name, fmt.Sprintf("desktop %q", holder.Name))
	h.Retry = verdict.DeniedRetry
	return h
}

// otherHolder is the session that holds the claim instead of this one; nil when it
// is free. One that is gone holds nothing: neither after a restore, nor in another
// cluster. Nor does one that was seen to use another home. The cache may say that
// somebody holds it; that nobody does is asked for.
func (r *Reconciler) otherHolder(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (*vdi.VDISession, error) {
	uid := homes.HolderOf(claim)
	if uid == "" || uid == s.UID {
		return nil, nil
	}
	for _, from := range []client.Reader{r.Client, r.Live} {
		list := &vdi.VDISessionList{}
		if err := from.List(ctx, list, client.InNamespace(claim.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list sessions that may hold home %q: %w", claim.Name, err)
		}
		i := slices.IndexFunc(list.Items, func(s vdi.VDISession) bool { return s.UID == uid })
		if i >= 0 && homes.MayUse(&list.Items[i], claim.Name) {
			return &list.Items[i], nil
		}
	}
	return nil, nil
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
	r.held.delete(client.ObjectKeyFromObject(s))
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
