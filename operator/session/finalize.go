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
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// finalizeDesktop ends the desktop and waits until it is gone: until then it may
// still write to the home.
func (r *Reconciler) finalizeDesktop(ctx context.Context, p *plan.Pass) error {
	if err := r.stopDesktop(ctx, p); err != nil || p.Seen.Pod == nil {
		return err
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Phase: vdi.PhaseTerminating,
		Message: "The desktop is shutting down", Retry: untilOrphanGoes(p.Session, p.Seen.Pod),
	}
}

// finalizeHome deletes a home only when all of this holds: a person deleted the
// session, its policy says Delete, the claim has the name of this session's own
// home, is the very one that its status records and the one the operator made for
// this user, no other session of theirs names or holds it, and the desktop's pod
// is gone from the API server.
func (r *Reconciler) finalizeHome(ctx context.Context, p *plan.Pass) error {
	if !mayDeleteHome(p.Session) {
		return nil
	}
	if err := r.podReallyGone(ctx, p); err != nil {
		return err
	}
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.Session.Namespace, Name: renderer.HomeClaimName(p.Session.Name)}
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
	if claim.UID != p.Session.Status.Home.UID || !homes.MadeFor(p.Session, claim) {
		p.HomeKept = &plan.KeptHome{Claim: claim, Why: "it is not the claim that was made for this session"}
		return nil
	}
	by, err := r.hadByOther(ctx, p.Session, claim)
	if err != nil {
		return err
	}
	if by != "" {
		p.HomeKept = &plan.KeptHome{Claim: claim, Why: by}
		return nil
	}
	// Somebody may have thought better of it, and another operator may know of an end
	// that is no person's wish.
	current, err := r.current(ctx, p)
	if err != nil || !mayDeleteHome(current) || claim.UID != current.Status.Home.UID {
		return err
	}
	if err := r.objects().Remove(ctx, claim); err != nil {
		return err
	}
	p.Seen.Claim = nil // the steps that follow have none to look after
	logf.FromContext(ctx).Info("home deleted as its policy says", "claim", claim.Name)
	return nil
}

// mayDeleteHome is the policy alone; see finalizeHome for the facts.
func mayDeleteHome(s *vdi.VDISession) bool {
	home := s.Status.Home
	return s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete &&
		homes.Persistent(s) && s.Spec.Persistence.ExistingClaim == "" &&
		s.Status.EndReason == "" && // the operator's ends are no person's wish to delete anything
		home != nil && home.CreatedByOperator && home.UID != "" && home.ClaimName == renderer.HomeClaimName(s.Name)
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

func (r *Reconciler) podReallyGone(ctx context.Context, p *plan.Pass) error {
	pod := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.Session.Name)
	there, err := r.readLive(ctx, p.Session, pod)
	if err != nil || !there || !ours(p.Session, pod) {
		return err
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Phase: vdi.PhaseTerminating,
		Message: "The desktop is shutting down", Retry: verdict.OwnerGoneRetry,
	}
}

// finalizeDone lets the session go; the garbage collector takes what it owns.
func (r *Reconciler) finalizeDone(ctx context.Context, p *plan.Pass) error {
	if !controllerutil.ContainsFinalizer(p.Session, wire.Finalizer) {
		return nil
	}
	err := r.patchSession(ctx, p, func(s *vdi.VDISession) { controllerutil.RemoveFinalizer(s, wire.Finalizer) })
	switch {
	case apierrors.IsNotFound(err):
		controllerutil.RemoveFinalizer(p.Session, wire.Finalizer) // it has just gone
	case err != nil:
		return fmt.Errorf("remove finalizer: %w", err)
	default:
		p.LetGo = true
	}
	return nil
}
