package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Whoever deletes a session may ask the garbage collector to let go of what it owns
// (propagationPolicy Orphan). That must leave no desktop behind, which nobody would
// find again, and no Secret that keeps the next session of the name from starting.

// ours tells whether an object is the session's: it owns it, or is being deleted and
// did until the garbage collector let go of it.
func ours(s *vdi.VDISession, o metav1.Object) bool {
	return metav1.IsControlledBy(o, s) || orphaned(s, o)
}

// orphaned goes by the labels that the operator gives its objects last.
func orphaned(s *vdi.VDISession, o metav1.Object) bool {
	labels := o.GetLabels()
	return s.DeletionTimestamp != nil && len(o.GetOwnerReferences()) == 0 &&
		labels[labelManagedBy] == managedBy && labels[labelName] == sessionName &&
		labels[labelInstance] == s.Name && labels[vdi.LabelUser] == platform.Identity(s.Spec.User)
}

// lettingGo tells whether the garbage collector still has to let go of something.
func lettingGo(s *vdi.VDISession) bool {
	return slices.Contains(s.Finalizers, metav1.FinalizerOrphanDependents)
}

// untilOrphanGoes is when to look again for an object whose end wakes nobody, since
// it has no owner; 0 for all others.
func untilOrphanGoes(s *vdi.VDISession, o metav1.Object) time.Duration {
	if orphaned(s, o) || lettingGo(s) {
		return ownerGoneRetry
	}
	return 0
}

// finalizeOrphans gives what lost its owner back to the session, once the garbage
// collector is done: it takes all of it when the session goes. The operator itself may
// not delete most of these kinds.
func (r *Reconciler) finalizeOrphans(ctx context.Context, p *pass) error {
	if lettingGo(p.session) {
		return &halt{
			condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
			message: "The session's objects are being removed", retry: ownerGoneRetry,
		}
	}
	var lost []client.Object
	for _, o := range p.seen.others {
		if orphaned(p.session, o) && o.GetDeletionTimestamp() == nil {
			lost = append(lost, o)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	// The Secrets first: it is by the others that the next pass sees that some are left.
	for _, name := range []string{renderer.CredentialsName(p.session.Name), renderer.TURNLoginName(p.session.Name)} {
		if err := r.adoptSecret(ctx, p.session, name); err != nil {
			return err
		}
	}
	for _, o := range lost {
		if err := r.adopt(ctx, p.session, o); err != nil {
			return err
		}
	}
	return nil
}

// adoptSecret looks for a Secret of the session first: none is watched.
func (r *Reconciler) adoptSecret(ctx context.Context, s *vdi.VDISession, name string) error {
	found := newSecretMetadata()
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, found)
	if apierrors.IsNotFound(err) || (err == nil && !orphaned(s, found)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read orphaned Secret: %w", err)
	}
	return r.adopt(ctx, s, found)
}

// adopt makes the session the owner of exactly the object that was looked at.
func (r *Reconciler) adopt(ctx context.Context, s *vdi.VDISession, o client.Object) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": o.GetUID(), "resourceVersion": o.GetResourceVersion(), "ownerReferences": []metav1.OwnerReference{ownerReference(s)},
	}})
	if err == nil {
		err = r.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldOwner))
	}
	if err != nil {
		return fmt.Errorf("adopt orphaned %s %q: %w", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
	}
	return nil
}
