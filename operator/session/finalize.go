package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// finalizeRoute makes the URL die at once.
func (r *Reconciler) finalizeRoute(ctx context.Context, p *pass) error {
	for key, o := range p.seen.others {
		if key.kind == routeKind.Kind && o.GetDeletionTimestamp() == nil {
			if err := r.remove(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// finalizePod ends the desktop and waits until it is gone: until then it may
// still write to the home.
func (r *Reconciler) finalizePod(ctx context.Context, p *pass) error {
	if p.seen.pod == nil {
		return nil
	}
	if p.seen.pod.DeletionTimestamp == nil {
		if err := r.remove(ctx, p.seen.pod); err != nil {
			return err
		}
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
		message: "The desktop is shutting down", retry: untilOrphanGoes(p.session, p.seen.pod),
	}
}

// finalizeHome deletes a home only when all of this holds: a person deleted the
// session, its policy says Delete, the claim is the very one the operator made
// for this user and session, no other session names it as its own, and no pod is
// left on the API server that could use it.
func (r *Reconciler) finalizeHome(ctx context.Context, p *pass) error {
	if !mayDeleteHome(p.session) {
		return nil
	}
	if err := r.podReallyGone(ctx, p); err != nil {
		return err
	}
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.session.Namespace, Name: p.session.Status.Home.ClaimName}
	err := r.Live.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	if claim.UID != p.session.Status.Home.UID || !ownHome(p.session, claim) || claim.DeletionTimestamp != nil {
		return nil
	}
	named, err := r.namedAsExisting(ctx, claim.Namespace, claim.Name)
	if err != nil || named {
		return err // another session of this user has it
	}
	if err := r.remove(ctx, claim); err != nil {
		return err
	}
	logf.FromContext(ctx).Info("home deleted as its policy says", "claim", claim.Name)
	return nil
}

// mayDeleteHome is the policy alone; see finalizeHome for the facts.
func mayDeleteHome(s *vdi.VDISession) bool {
	home := s.Status.Home
	return s.Spec.Persistence.ReclaimPolicy == vdi.ReclaimDelete &&
		persistent(s) && s.Spec.Persistence.ExistingClaim == "" &&
		s.Status.EndReason == "" && // the operator's ends are no person's wish to delete anything
		home != nil && home.CreatedByOperator && home.UID != "" && home.ClaimName != ""
}

func operatorsReason(reason vdi.StopReason) bool {
	return reason == vdi.StopExpired || reason == vdi.StopIdle || reason == vdi.StopFailed
}

func (r *Reconciler) podReallyGone(ctx context.Context, p *pass) error {
	pod := &metav1.PartialObjectMetadata{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.session), pod)
	if apierrors.IsNotFound(err) || (err == nil && !ours(p.session, pod)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make sure the pod is gone: %w", err)
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
		message: "The desktop is shutting down", retry: ownerGoneRetry,
	}
}

// finalizeDone lets the session go; the garbage collector takes what it owns.
func (r *Reconciler) finalizeDone(ctx context.Context, p *pass) error {
	if !controllerutil.ContainsFinalizer(p.session, vdi.Finalizer) {
		return nil
	}
	before := p.session.DeepCopy()
	controllerutil.RemoveFinalizer(p.session, vdi.Finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Patch(ctx, p.session, patch, client.FieldOwner(FieldOwner))
	if err != nil && !apierrors.IsNotFound(err) {
		controllerutil.AddFinalizer(p.session, vdi.Finalizer) // it is still there
		return fmt.Errorf("remove finalizer: %w", err)
	}
	p.wrote(before.ResourceVersion)
	p.letGo = err == nil
	return nil
}
