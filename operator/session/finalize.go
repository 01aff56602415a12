package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// finalizeDesktop ends the desktop and waits until it is gone: until then it may
// still write to the home.
func (r *Reconciler) finalizeDesktop(ctx context.Context, p *pass) error {
	if err := r.stopDesktop(ctx, p); err != nil || p.seen.pod == nil {
		return err
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
		message: "The desktop is shutting down", retry: untilOrphanGoes(p.session, p.seen.pod),
	}
}

// finalizeHome deletes a home only when all of this holds: a person deleted the
// session, its policy says Delete, the claim has the name of this session's own
// home, is the very one that its status records and the one the operator made for
// this user, no other session of theirs names or holds it, and the desktop's pod
// is gone from the API server.
func (r *Reconciler) finalizeHome(ctx context.Context, p *pass) error {
	if !mayDeleteHome(p.session) {
		return nil
	}
	if err := r.podReallyGone(ctx, p); err != nil {
		return err
	}
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.session.Namespace, Name: renderer.HomeClaimName(p.session.Name)}
	err := r.Live.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	if claim.DeletionTimestamp != nil {
		return nil
	}
	if claim.UID != p.session.Status.Home.UID || !ownHome(p.session, claim) {
		p.homeKept = &keptHome{claim, "it is not the claim that was made for this session"}
		return nil
	}
	by, err := r.hadByOther(ctx, p.session, claim)
	if err != nil {
		return err
	}
	if by != "" {
		p.homeKept = &keptHome{claim, by}
		return nil
	}
	// Somebody may have thought better of it, and another operator may know of an end
	// that is no person's wish.
	current, err := r.current(ctx, p)
	if err != nil || !mayDeleteHome(current) || claim.UID != current.Status.Home.UID {
		return err
	}
	if err := r.remove(ctx, claim); err != nil {
		return err
	}
	p.seen.claim = nil // the steps that follow have none to look after
	logf.FromContext(ctx).Info("home deleted as its policy says", "claim", claim.Name)
	return nil
}

// mayDeleteHome is the policy alone; see finalizeHome for the facts.
func mayDeleteHome(s *vdi.VDISession) bool {
	home := s.Status.Home
	return s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete &&
		persistent(s) && s.Spec.Persistence.ExistingClaim == "" &&
		s.Status.EndReason == "" && // the operator's ends are no person's wish to delete anything
		home != nil && home.CreatedByOperator && home.UID != "" && home.ClaimName == renderer.HomeClaimName(s.Name)
}

// keptHome is a home that stays although its session was to take it along, and why.
type keptHome struct {
	claim *corev1.PersistentVolumeClaim
	why   string
}

func (k keptHome) note(s *vdi.VDISession) string {
	return fmt.Sprintf("The session %s is gone, and was to take its home along (reclaimPolicy Delete), but the home is kept: %s", s.Name, k.why)
}

// hadByOther says how another session has this one's home, if one has: its desktop is on
// it, it holds it, or it names it as its existing claim, as only its user's may.
// What is deleted does not come back, so the API server itself is asked.
func (r *Reconciler) hadByOther(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (how string, err error) {
	desktop, err := r.desktopOn(ctx, s, claim.Name)
	if err != nil {
		return "", err
	}
	if desktop != nil {
		return fmt.Sprintf("the desktop %q is on it", desktop.Name), nil
	}
	holder, err := r.otherHolder(ctx, s, claim)
	if err != nil {
		return "", err
	}
	if holder != nil {
		return fmt.Sprintf("the session %q holds it", holder.Name), nil
	}
	other, err := namedByOther(ctx, r.Live, s, claim.Name, client.InNamespace(s.Namespace), client.MatchingFields{"spec.user": s.Spec.User})
	if err != nil || other == "" {
		return "", err
	}
	return fmt.Sprintf("the session %q of the same user names it as its existingClaim", other), nil
}

func operatorsReason(reason vdi.StopReason) bool {
	return reason == vdi.StopExpired || reason == vdi.StopIdle || reason == vdi.StopFailed
}

func (r *Reconciler) podReallyGone(ctx context.Context, p *pass) error {
	pod := newMetadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.session.Name)
	there, err := r.readLive(ctx, p.session, pod)
	if err != nil || !there || !ours(p.session, pod) {
		return err
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
		message: "The desktop is shutting down", retry: ownerGoneRetry,
	}
}

// finalizeDone lets the session go; the garbage collector takes what it owns.
func (r *Reconciler) finalizeDone(ctx context.Context, p *pass) error {
	if !controllerutil.ContainsFinalizer(p.session, wire.Finalizer) {
		return nil
	}
	before := p.session.DeepCopy()
	controllerutil.RemoveFinalizer(p.session, wire.Finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner))
	if err != nil && !apierrors.IsNotFound(err) {
		controllerutil.AddFinalizer(p.session, wire.Finalizer) // it is still there
		return fmt.Errorf("remove finalizer: %w", err)
	}
	p.wrote(before.ResourceVersion)
	p.letGo = err == nil
	return nil
}
