package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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
		labels[wire.LabelManagedBy] == wire.Operator && labels[wire.LabelName] == wire.NameSession &&
		labels[wire.LabelInstance] == s.Name && labels[wire.LabelUser] == platform.Identity(s.Spec.User)
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
// not delete most of these kinds. Caches may not show yet that it was at work, so the
// Secret is asked for, which every session owns that was started; without one, all is.
func (r *Reconciler) finalizeOrphans(ctx context.Context, p *pass) error {
	if lettingGo(p.session) {
		return &halt{
			condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
			message: "The session's objects are being removed", retry: ownerGoneRetry,
		}
	}
	secret := newSecretMetadata(renderer.CredentialsName(p.session.Name))
	if _, err := r.findOrphan(ctx, p.session, secret); err != nil {
		return err
	}
	if metav1.IsControlledBy(secret, p.session) && len(p.seen.which(func(o *unstructured.Unstructured) bool { return orphaned(p.session, o) })) == 0 {
		return nil
	}
	if err := r.removeOrphanedPod(ctx, p); err != nil {
		return err
	}
	all := []*metav1.PartialObjectMetadata{newSecretMetadata(renderer.TURNLoginName(p.session.Name))}
	for _, c := range r.compared(p.session.Name) {
		kind, err := r.Client.GroupVersionKindFor(c.object)
		if err != nil {
			return fmt.Errorf("look for orphans: %w", err)
		}
		all = append(all, newMetadata(kind, c.name))
	}
	for _, o := range append(all, secret) { // it is by the Secret that the next pass sees that some are left
		if err := r.adoptOrphan(ctx, p.session, o); err != nil {
			return err
		}
	}
	return nil
}

// newMetadata is what is read of an object of which only its owner counts.
func newMetadata(kind schema.GroupVersionKind, name string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.SetGroupVersionKind(kind)
	return m
}

// removeOrphanedPod ends a desktop that has no owner any more and that the cache does not
// show.
func (r *Reconciler) removeOrphanedPod(ctx context.Context, p *pass) error {
	pod := newMetadata(corev1.SchemeGroupVersion.WithKind(wire.KindPod), p.session.Name)
	lost, err := r.findOrphan(ctx, p.session, pod)
	if err != nil || !lost {
		return err
	}
	if err := r.remove(ctx, pod); err != nil {
		return err
	}
	return &halt{
		condition: vdi.ConditionReady, reason: vdi.ReasonTerminating, phase: vdi.PhaseTerminating,
		message: "The desktop is shutting down", retry: ownerGoneRetry,
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
		found, err := r.lookAtSecret(ctx, s, blankSecret(s, o.Name))
		if found != nil {
			found.DeepCopyInto(o)
		}
		return found != nil, err
	}
	return r.getLive(ctx, s.Namespace, o)
}

func (r *Reconciler) getLive(ctx context.Context, namespace string, o *metav1.PartialObjectMetadata) (there bool, err error) {
	err = r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: o.Name}, o)
	switch {
	case apierrors.IsNotFound(err), isRouteKindMissing(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("make sure of %s %q: %w", o.Kind, o.Name, err)
	default:
		return true, nil
	}
}

func (r *Reconciler) adoptOrphan(ctx context.Context, s *vdi.VDISession, o *metav1.PartialObjectMetadata) error {
	lost, err := r.findOrphan(ctx, s, o)
	if err != nil || !lost || o.DeletionTimestamp != nil {
		return err
	}
	if o.Kind == wire.KindSecret { // nobody logs in any more: nothing of what it held is needed
		return r.replaceSecret(ctx, secretVersion{o.UID, o.ResourceVersion}, givenBack(blankSecret(s, o.Name)))
	}
	return r.adopt(ctx, s, o)
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
