package homes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
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

// Claims writes the claims of homes. Beside who holds one, that it was left and how large it
// is, nothing of a claim is ever written.
type Claims struct {
	// Objects writes and reads objects.
	Objects objects.Store
	// Users know who has a claim.
	Users Users
	// Known is what is remembered of the claims.
	Known *Known
	// Freed is called with a claim that was released.
	Freed func(context.Context, *corev1.PersistentVolumeClaim)
}

// Use is who has the claim on which a desktop is to start.
type Use struct {
	Held   bool            // the session itself, for this very start
	Own    *corev1.Pod     // the session's own desktop is on it, which only the API server knew: this start is none
	Pod    *corev1.Pod     // somebody else's pod is on it
	Holder *vdi.VDISession // another session holds it
}

// Verdict is why the session cannot start on the claim; nil when it can.
func (u Use) Verdict(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	switch {
	case u.Pod != nil:
		return InUseBy(s, claim.Name, u.Pod)
	case u.Holder != nil:
		return HeldBy(claim.Name, u.Holder)
	default:
		return nil
	}
}

// Read is a claim as the API server has it; nil when there is none.
func (c Claims) Read(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	claim := &corev1.PersistentVolumeClaim{}
	err := c.Objects.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, claim)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read home %q: %w", name, err)
	default:
		return claim, nil
	}
}

// UseOf is who has the claim. The pods that are watched cost nothing to look at; while the
// session waits for somebody else's pod already, which is not watched, the API server is
// asked before anything is written.
func (c Claims) UseOf(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (use Use, err error) {
	if c.Known.holds(s, claim) {
		return Use{Held: true}, nil
	}
	if isWaiting(s) {
		use.Pod, use.Own, err = c.Users.PodsOn(ctx, s, claim)
	} else {
		use.Pod, err = c.Users.DesktopOn(ctx, s, claim.Name)
	}
	if err != nil || use.Pod != nil || use.Own != nil {
		return use, err
	}
	use.Holder, err = c.Users.OtherHolder(ctx, s, claim)
	return use, err
}

// isWaiting reports whether the last look found the home in use.
func isWaiting(s *vdi.VDISession) bool {
	return slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == vdi.ConditionHomeReady && c.Status == metav1.ConditionFalse && c.Reason == vdi.ReasonHomeInUse
	})
}

// Hold makes the session the holder of the claim, and returns a verdict while a pod of
// somebody else is on it. The session's own, which only the API server knew, is returned:
// this start is none.
func (c Claims) Hold(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) (own *corev1.Pod, err error) {
	before := claim.DeepCopy()
	Hold(claim, s.UID)
	if kept.MadeByOperator(claim) && kept.Left(claim) {
		logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
		kept.Take(claim)
	}
	c.Known.released.Delete(client.ObjectKeyFromObject(s)) // also if the answer is lost
	if err := c.patch(ctx, before, claim); err != nil {
		return nil, verdict.OfWrite(wire.KindPersistentVolumeClaim, err)
	}
	other, own, err := c.Users.PodsOn(ctx, s, claim)
	switch {
	case own != nil:
		return own, nil
	case other != nil: // whoever uses it may have to start again first
		return nil, errors.Join(InUseBy(s, claim.Name, other), c.Release(ctx, s, claim))
	case err == nil:
		c.Known.holding.remember(s, claim)
	}
	return nil, err
}

// Make makes the home as rendered; its desktop, where one starts, is its holder from the first
// moment. The error of a claim that is there already is the API server's, AlreadyExists.
func (c Claims) Make(ctx context.Context, s *vdi.VDISession, rendered *unstructured.Unstructured, held bool) (*corev1.PersistentVolumeClaim, error) {
	made := rendered.DeepCopy()
	if held {
		Hold(made, s.UID)
		c.Known.released.Delete(client.ObjectKeyFromObject(s))
	}
	made, err := c.Objects.Create(ctx, made)
	if err != nil {
		return nil, err
	}
	claim := &corev1.PersistentVolumeClaim{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, claim); err != nil {
		return nil, fmt.Errorf("read back home: %w", err)
	}
	return claim, nil
}

// TakeBack removes the mark from a home that was left, where its user's session has it again.
func (c Claims) TakeBack(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	if !MayTakeBack(s, claim) {
		return nil
	}
	logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
	before := claim.DeepCopy()
	kept.Take(claim)
	return c.patch(ctx, before, claim)
}

// Grow raises the claim's request, and returns it as it is then.
func (c Claims) Grow(ctx context.Context, claim *corev1.PersistentVolumeClaim, to resource.Quantity) (*corev1.PersistentVolumeClaim, error) {
	grown := claim.DeepCopy()
	if grown.Spec.Resources.Requests == nil {
		grown.Spec.Resources.Requests = corev1.ResourceList{}
	}
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = to
	return grown, c.patch(ctx, claim, grown)
}

// Leave marks the home that a session leaves behind, and for how long it is kept; 0 for ever.
// The same write releases it.
func (c Claims) Leave(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim, at time.Time, keep time.Duration) error {
	logf.FromContext(ctx).Info("home left behind", "claim", claim.Name, "retainFor", keep)
	before := claim.DeepCopy()
	kept.Leave(claim, at, keep)
	if name := s.Spec.DisplayName; name != "" { // by which its owner knows it again
		claim.Annotations[wire.AnnotationDisplayName] = name
	}
	if HolderOf(claim) == s.UID {
		Release(claim)
	}
	return c.release(ctx, s, before, claim)
}

// IsHeld reports whether the session holds a claim that has somebody left to be free for.
func IsHeld(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && HolderOf(claim) == s.UID && claim.DeletionTimestamp == nil
}

// Release makes a claim free that the session holds.
func (c Claims) Release(ctx context.Context, s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	if !IsHeld(s, claim) {
		return nil
	}
	before := claim.DeepCopy()
	Release(claim)
	return c.release(ctx, s, before, claim)
}

// release writes a claim that is free now, and wakes who waits for it.
func (c Claims) release(ctx context.Context, s *vdi.VDISession, before, after *corev1.PersistentVolumeClaim) error {
	c.Known.holding.Delete(client.ObjectKeyFromObject(s))
	if err := c.patch(ctx, before, after); err != nil {
		return client.IgnoreNotFound(err)
	}
	if HolderOf(before) == HolderOf(after) {
		return nil
	}
	c.Known.LetGo(s, before.Name, before.Annotations[wire.AnnotationHolder])
	c.Freed(ctx, before)
	return nil
}

// patch writes the very claim that was looked at. Where that fails the claim is as it was.
func (c Claims) patch(ctx context.Context, before, after *corev1.PersistentVolumeClaim) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Objects.Client.Patch(ctx, after, patch, c.Objects.Owner); err != nil {
		before.DeepCopyInto(after)
		return fmt.Errorf("mark home %q: %w", before.Name, err)
	}
	return nil
}
