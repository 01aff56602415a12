package session

import (
	"context"
	"fmt"
	"time"

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
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
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
		p.SharedWith, err = r.users().DesktopOn(ctx, p.Session, claim)
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
		r.released.Delete(client.ObjectKeyFromObject(p.Session))
	}
	made, err := r.objects().Create(ctx, made)
	if apierrors.IsAlreadyExists(err) {
		return r.findHome(ctx, p, o.GetName())
	}
	if err != nil {
		return verdict.OfWrite(o.GetKind(), err)
	}
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

// What somebody does to a home under its session is reported, and no other home is put
// in its place before the next start.

// missHome notices that the claim which the session had is gone. Kubernetes keeps a claim
// that a pod uses, but whoever takes its finalizer away can remove it. Only words and the
// place of the claim depend on it, so an API server that cannot be asked holds up nothing.
func (r *Reconciler) missHome(ctx context.Context, p *plan.Pass) error {
	if p.Seen.Claim != nil || !p.HadHome() || p.Starting() || (p.Seen.PodLives() && !desktop.HasStarted(p.Seen.Pod)) {
		return nil
	}
	if p.Seen.PodLives() && !p.LateBy(lateAppearance) {
		return nil // the cache may be late
	}
	there, err := r.readLive(ctx, p.Session, objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), p.HomeInForce()))
	if err != nil {
		logf.FromContext(ctx).Error(err, "whether the home is still there is unknown")
	}
	p.HomeGone = err == nil && !there
	return nil
}

// leaveHome marks the home that a session leaves behind, and for how long it is
// to be kept; package homes does the rest. A mark stays as it is: it was made by
// an earlier look at this end, or by the session that had the home last. The same
// write releases the home.
func (r *Reconciler) leaveHome(ctx context.Context, p *plan.Pass) error {
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.Session.Namespace, Name: renderer.HomeClaimName(p.Session.Name)}
	err := r.Live.Get(ctx, key, claim)
	if apierrors.IsNotFound(err) {
		p.Seen.Claim = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read home: %w", err)
	}
	p.Seen.Claim = claim // what follows sees what was written
	if !homes.MadeFor(p.Session, claim) || claim.DeletionTimestamp != nil || homes.Left(claim) {
		return nil // releaseHomes releases it
	}
	named, err := homes.NamedByOther(ctx, r.Client, p.Session, claim.Name, r.onClaim(claim.Namespace, claim.Name)...)
	if err != nil || named != "" {
		return err // it is not left, but another session's
	}
	var keep time.Duration // a home that was switched off before is kept for ever
	if homes.WasHomeOf(p.Session, claim) {
		keep, err = r.retainFor(ctx, p.Session)
	}
	if err != nil {
		return err
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	now, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("ask for the API server's time: %w", err)
	}
	logf.FromContext(ctx).Info("home left behind", "claim", claim.Name, "retainFor", keep)
	before := claim.DeepCopy()
	homes.Leave(claim, now, keep)
	if homes.HolderOf(claim) == p.Session.UID {
		homes.Release(claim)
	}
	err = r.releaseBy(ctx, p.Session, before, claim)
	if objects.IsRefusal(err) && keep == 0 {
		logf.FromContext(ctx).Error(err, "a home is not marked; it is listed later", "claim", claim.Name)
		p.Seen.Claim = before
		return nil
	}
	if objects.IsRefusal(err) {
		return verdict.Denied(wire.KindPersistentVolumeClaim, err) // nobody else knows how long it is to be kept
	}
	return err
}

// retainFor reads the template for its default. A template that is gone has none.
func (r *Reconciler) retainFor(ctx context.Context, s *vdi.VDISession) (time.Duration, error) {
	t := &vdi.VDITemplate{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: s.Spec.Template}, t)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("read template %q: %w", s.Spec.Template, err)
	}
	return homes.RetainFor(s.Spec, t.Spec.Lifecycle), nil
}

// takeHome removes the mark from a home that its user's session has again, also
// while no desktop starts on it: whoever was about to delete it finds it changed.
func (r *Reconciler) takeHome(ctx context.Context, p *plan.Pass) error {
	claim := p.Seen.Claim
	if homes.ClaimName(p.Session) != claim.Name || !homes.Left(claim) || !homes.MadeByOperator(claim) {
		return nil
	}
	logf.FromContext(ctx).Info("home taken back", "claim", claim.Name)
	before := claim.DeepCopy()
	homes.Take(claim)
	return r.patchClaim(ctx, before, claim)
}
