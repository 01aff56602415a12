package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/secrets"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
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
	desktop, err := r.users().DesktopOn(ctx, s, claim.Name)
	if err != nil {
		return "", err
	}
	if desktop != nil {
		return fmt.Sprintf("the desktop %q is on it", desktop.Name), nil
	}
	holder, err := r.users().OtherHolder(ctx, s, claim)
	if err != nil {
		return "", err
	}
	if holder != nil {
		return fmt.Sprintf("the session %q holds it", holder.Name), nil
	}
	other, err := homes.NamedByOther(ctx, r.Live, s, claim.Name, client.InNamespace(s.Namespace), client.MatchingFields{"spec.user": s.Spec.User})
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

// Whoever deletes a session may ask the garbage collector to let go of what it owns
// (propagationPolicy Orphan). That must leave no desktop behind, which nobody would
// find again, and no Secret that keeps the next session of the name from starting.

// ours reports whether an object is the session's: it owns it, or is being deleted and
// did until the garbage collector let go of it.
func ours(s *vdi.VDISession, o metav1.Object) bool {
	return metav1.IsControlledBy(o, s) || orphaned(s, o)
}

// orphaned goes by the labels that the operator gives its objects last.
func orphaned(s *vdi.VDISession, o metav1.Object) bool {
	labels := o.GetLabels()
	return s.DeletionTimestamp != nil && len(o.GetOwnerReferences()) == 0 &&
		labels[wire.LabelManagedBy] == wire.Operator && labels[wire.LabelName] == wire.NameSession &&
		labels[wire.LabelInstance] == s.Name && labels[wire.LabelUser] == platform.Identity(s.Spec.User)
}

// lettingGo reports whether the garbage collector still has to let go of something.
func lettingGo(s *vdi.VDISession) bool {
	return slices.Contains(s.Finalizers, metav1.FinalizerOrphanDependents)
}

// untilOrphanGoes is when to look again for an object whose end wakes nobody, since
// it has no owner; 0 for all others.
func untilOrphanGoes(s *vdi.VDISession, o metav1.Object) time.Duration {
	if orphaned(s, o) || lettingGo(s) {
		return verdict.OwnerGoneRetry
	}
	return 0
}

// finalizeOrphans gives what lost its owner back to the session, once the garbage
// collector is done: it takes all of it when the session goes. The operator itself may
// not delete most of these kinds. Caches may not show yet that it was at work, so the
// Secret is asked for, which every session owns that was started; without one, all is.
func (r *Reconciler) finalizeOrphans(ctx context.Context, p *plan.Pass) error {
	if lettingGo(p.Session) {
		return &verdict.Verdict{
			Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Phase: vdi.PhaseTerminating,
			Message: "The session's objects are being removed", Retry: verdict.OwnerGoneRetry,
		}
	}
	secret := secrets.Metadata(renderer.CredentialsName(p.Session.Name))
	if _, err := r.findOrphan(ctx, p.Session, secret); err != nil {
		return err
	}
	if metav1.IsControlledBy(secret, p.Session) && len(p.Seen.Which(func(o *unstructured.Unstructured) bool { return orphaned(p.Session, o) })) == 0 {
		return nil
	}
	if err := r.removeOrphanedPod(ctx, p); err != nil {
		return err
	}
	all := []*metav1.PartialObjectMetadata{secrets.Metadata(renderer.TURNLoginName(p.Session.Name))}
	for _, c := range r.compared(p.Session.Name) {
		kind, err := r.Client.GroupVersionKindFor(c.object)
		if err != nil {
			return fmt.Errorf("look for orphans: %w", err)
		}
		all = append(all, objects.Metadata(kind, c.name))
	}
	for _, o := range append(all, secret) { // it is by the Secret that the next pass sees that some are left
		if err := r.adoptOrphan(ctx, p.Session, o); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphanedPod ends a desktop that has no owner any more and that the cache does not
// show.
func (r *Reconciler) removeOrphanedPod(ctx context.Context, p *plan.Pass) error {
	pod := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.Session.Name)
	lost, err := r.findOrphan(ctx, p.Session, pod)
	if err != nil || !lost {
		return err
	}
	if err := r.objects().Remove(ctx, pod); err != nil {
		return err
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionReady, Reason: vdi.ReasonTerminating, Phase: vdi.PhaseTerminating,
		Message: "The desktop is shutting down", Retry: verdict.OwnerGoneRetry,
	}
}

// findOrphan reads an object and reports whether it is an orphan of the session.
func (r *Reconciler) findOrphan(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) (bool, error) {
	there, err := r.readLive(ctx, s, o)
	return there && orphaned(s, o), err
}

// readLive reads an object from the API server itself, where caches may be late or do not
// watch it. What is of a kind that nobody serves is not there.
func (r *Reconciler) readLive(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) (there bool, err error) {
	if o.Kind == wire.KindSecret {
		found, err := r.secrets().Look(ctx, s, secrets.Blank(s, o.Name))
		if found != nil {
			found.DeepCopyInto(o)
		}
		return found != nil, err
	}
	return r.objects().ReadMetadata(ctx, s.Namespace, o)
}

func (r *Reconciler) adoptOrphan(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) error {
	lost, err := r.findOrphan(ctx, s, o)
	if err != nil || !lost || o.DeletionTimestamp != nil {
		return err
	}
	if o.Kind == wire.KindSecret { // nobody logs in any more: nothing of what it held is needed
		return r.secrets().Replace(ctx, secrets.VersionOf(o), secrets.GivenBack(secrets.Blank(s, o.Name)))
	}
	return r.objects().Adopt(ctx, s.OwnerReference(), o)
}
