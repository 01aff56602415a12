package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
)

// inspectHome refuses to start a desktop on a home that is another person's or
// that another desktop writes to.
func (r *Reconciler) inspectHome(ctx context.Context, p *plan.Pass) error {
	var err error
	switch claim := p.HomeInForce(); {
	case claim == "":
	case p.Starting():
		err = r.startOn(ctx, p, claim)
	case p.Seen.PodLives():
		p.SharedWith, err = r.desktopOn(ctx, p.Session, claim)
	}
	if err != nil {
		return err
	}
	p.HomeSeen = true
	return nil
}

// startOn makes the session the holder of its home, where there is one yet: a
// claim that is still to be made is made with its holder.
func (r *Reconciler) startOn(ctx context.Context, p *plan.Pass, name string) error {
	if name == p.Session.Spec.Persistence.ExistingClaim {
		return r.startOnExisting(ctx, p, name)
	}
	if p.Seen.Claim == nil {
		return nil // not made yet; the create will show
	}
	if holder := homes.HolderOf(p.Seen.Claim); holder != "" && holder != p.Session.UID {
		return r.findHome(ctx, p, name) // it may be free by now: its release woke us
	}
	if err := homes.Usable(p.Session, p.Seen.Claim); err != nil {
		return err
	}
	if err := homes.Mountable(p.Seen.Claim); err != nil {
		return err
	}
	return r.hold(ctx, p, p.Seen.Claim)
}

// startOnExisting takes over an existing claim that is this user's. It may be a
// home that another session of theirs has left.
func (r *Reconciler) startOnExisting(ctx context.Context, p *plan.Pass, name string) error {
	claim := &corev1.PersistentVolumeClaim{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Session.Namespace, Name: name}, claim)
	if apierrors.IsNotFound(err) {
		return homes.Refused(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: there is no PersistentVolumeClaim %q in namespace %q", name, p.Session.Namespace))
	}
	if err != nil {
		return fmt.Errorf("read existing claim: %w", err)
	}
	if claim.DeletionTimestamp != nil {
		return homes.Refused(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: the PersistentVolumeClaim %q is being deleted", claim.Name))
	}
	if err := homes.Usable(p.Session, claim); err != nil {
		return err
	}
	if err := homes.NotLost(claim); err != nil {
		return err
	}
	p.Seen.Existing = claim
	return r.hold(ctx, p, claim)
}

// applyHome makes the home when there is none and lets it grow; beside who holds
// it and that it was left, nothing else of a claim is ever written.
func (r *Reconciler) applyHome(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	if p.Seen.Claim != nil {
		if err := homes.Usable(p.Session, p.Seen.Claim); err != nil {
			return err // also a session that does not start leaves another's home alone
		}
		if err := r.takeHome(ctx, p); err != nil {
			return err
		}
		p.HomeDiffers = homes.Differences(p.Seen.Claim, o)
		return r.growHome(ctx, p, o)
	}
	if p.HomeGone {
		return nil // a new one now would stand in the way of bringing the old one back
	}
	made := o.DeepCopy()
	if p.Starting() {
		homes.Hold(made, p.Session.UID) // it is born with its holder
		r.released.delete(client.ObjectKeyFromObject(p.Session))
	}
	err := r.Client.Create(ctx, made, client.FieldOwner(FieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return r.findHome(ctx, p, o.GetName())
	}
	if err != nil {
		return verdict.OfWrite(o.GetKind(), err)
	}
	logf.FromContext(ctx).Info("created", "kind", o.GetKind(), "name", o.GetName())
	claim := &corev1.PersistentVolumeClaim{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, claim); err != nil {
		return fmt.Errorf("read back home: %w", err)
	}
	p.Seen.Claim = claim
	p.HomeSeen = true
	return nil
}

// findHome looks at a claim that the cache does not show.
func (r *Reconciler) findHome(ctx context.Context, p *plan.Pass, name string) error {
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Session.Namespace, Name: name}, claim); err != nil {
		return fmt.Errorf("read existing home: %w", err)
	}
	if err := homes.Usable(p.Session, claim); err != nil {
		return err
	}
	p.Seen.Claim = claim
	p.HomeSeen = true
	if !p.Starting() {
		return r.takeHome(ctx, p)
	}
	if err := homes.Mountable(claim); err != nil {
		return err
	}
	return r.hold(ctx, p, claim)
}

// growHome raises the claim's request. A volume cannot shrink, and whether it
// grows is the cluster's to say: a desktop starts, runs and stops without that.
func (r *Reconciler) growHome(ctx context.Context, p *plan.Pass, o *unstructured.Unstructured) error {
	wish, found, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
	if !found || !homes.MadeByOperator(p.Seen.Claim) {
		return nil
	}
	size, err := resource.ParseQuantity(wish)
	if err != nil {
		return fmt.Errorf("size of home: %w", err)
	}
	current := p.Seen.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	switch size.Cmp(current) {
	case 0:
		return nil
	case -1:
		p.SizeRefused = &verdict.Verdict{
			Reason:  vdi.ReasonHomeShrinkRefused,
			Message: "The home stays as large as it is: a volume cannot shrink (spec.persistence.size)",
		}
		return nil
	}
	before, grown := p.Seen.Claim, p.Seen.Claim.DeepCopy()
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = size
	err = r.patchClaim(ctx, before, grown)
	switch {
	case err == nil:
		p.Seen.Claim = grown
	case objects.IsRefusal(err):
		p.SizeRefused = &verdict.Verdict{
			Reason:  vdi.ReasonHomeGrowthRefused,
			Message: fmt.Sprintf("The home stays at %s: the cluster refused to let it grow to %s (spec.persistence.size): %s", current.String(), size.String(), objects.Words(err)),
		}
		p.LookAgainAfter(verdict.DeniedRetry)
		return nil
	}
	return err
}
