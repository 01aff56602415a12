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
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// homeClaim is the claim a session's home lies in; empty for a scratch home.
func homeClaim(s *vdi.VDISession) string {
	switch {
	case !persistent(s):
		return ""
	case s.Spec.Persistence.ExistingClaim != "":
		return s.Spec.Persistence.ExistingClaim
	default:
		return renderer.HomeClaimName(s.Name)
	}
}

// persistent: unset means true, as the API says.
func persistent(s *vdi.VDISession) bool {
	return s.Spec.Persistence.Enabled == nil || *s.Spec.Persistence.Enabled
}

// homeInForce is the claim that the session's pod mounts as its home; while
// there is none, the one that the next pod will.
func (p *pass) homeInForce() string {
	if p.seen.pod == nil {
		return homeClaim(p.session)
	}
	for _, v := range p.seen.pod.Spec.Volumes {
		if v.Name == wire.VolumeHome && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// inspectHome refuses to start a desktop on a home that is another person's or
// that another desktop writes to.
func (r *Reconciler) inspectHome(ctx context.Context, p *pass) error {
	var err error
	switch claim := p.homeInForce(); {
	case claim == "":
	case p.starting():
		err = r.startOn(ctx, p, claim)
	case p.seen.podLives():
		p.sharedWith, err = r.desktopOn(ctx, p.session, claim)
	}
	if err != nil {
		return err
	}
	p.home = homeStatus(p)
	return nil
}

// startOn makes the session the holder of its home, where there is one yet: a
// claim that is still to be made is made with its holder.
func (r *Reconciler) startOn(ctx context.Context, p *pass, name string) error {
	if name == p.session.Spec.Persistence.ExistingClaim {
		return r.startOnExisting(ctx, p, name)
	}
	if p.seen.claim == nil {
		return nil // not made yet; the create will show
	}
	if holder := homes.HolderOf(p.seen.claim); holder != "" && holder != p.session.UID {
		return r.findHome(ctx, p, name) // it may be free by now: its release woke us
	}
	if err := usableHome(p.session, p.seen.claim); err != nil {
		return err
	}
	if err := mountable(p.seen.claim); err != nil {
		return err
	}
	return r.hold(ctx, p, p.seen.claim)
}

// startOnExisting takes over an existing claim that is this user's. It may be a
// home that another session of theirs has left.
func (r *Reconciler) startOnExisting(ctx context.Context, p *pass, name string) error {
	claim := &corev1.PersistentVolumeClaim{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.session.Namespace, Name: name}, claim)
	if apierrors.IsNotFound(err) {
		return homeHalt(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: there is no PersistentVolumeClaim %q in namespace %q", name, p.session.Namespace))
	}
	if err != nil {
		return fmt.Errorf("read existing claim: %w", err)
	}
	if claim.DeletionTimestamp != nil {
		return homeHalt(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: the PersistentVolumeClaim %q is being deleted", claim.Name))
	}
	if err := usableHome(p.session, claim); err != nil {
		return err
	}
	if err := notLost(claim); err != nil {
		return err
	}
	p.seen.existing = claim
	return r.hold(ctx, p, claim)
}

// mountable halts while a desktop could not use the claim.
func mountable(claim *corev1.PersistentVolumeClaim) error {
	if err := notLeaving(claim); err != nil {
		return err
	}
	return notLost(claim)
}

// notLeaving halts while a home is being deleted; the desktop starts with a new one when
// it is gone. That wakes us, but for one that an administrator made, which is not watched.
func notLeaving(claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp == nil {
		return nil
	}
	return &halt{
		condition: vdi.ConditionHomeReady, reason: vdi.ReasonWaiting, phase: vdi.PhasePending, waiting: vdi.WaitingForVolume,
		message: fmt.Sprintf("The home %q is being deleted; the desktop starts with a new one when it is gone", claim.Name),
		retry:   deniedRetry,
	}
}

// usableHome halts unless the claim is this identity's: made by the operator for
// it, or labelled for it by an administrator. A planted home is a poisoned .bashrc.
func usableHome(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	identity := platform.Identity(s.Spec.User)
	made := homes.MadeByOperator(claim)
	switch {
	case claim.Labels[wire.LabelHomeFor] == identity:
		return nil
	case made && claim.Labels[wire.LabelUser] == identity:
		return nil
	case made:
		return homeHalt(vdi.ReasonHomeOfAnotherUser, fmt.Sprintf("The home %q belongs to another user. Use another session name; or, where it is the same person's, an administrator can hand it over: %s", claim.Name, handOver(claim, identity)))
	default:
		return homeHalt(vdi.ReasonHomeNotOurs, fmt.Sprintf("The PersistentVolumeClaim %q was not made by the operator, so it is not used as a home. An administrator can allow it: %s", claim.Name, handOver(claim, identity)))
	}
}

// handOver is the command that gives a claim to a person.
func handOver(claim *corev1.PersistentVolumeClaim, identity string) string {
	return fmt.Sprintf("kubectl label pvc -n %s %s --overwrite %s=%s", claim.Namespace, claim.Name, wire.LabelHomeFor, identity)
}

func homeHalt(reason, message string) *halt {
	return &halt{
		condition: vdi.ConditionHomeReady, reason: reason, message: message,
		phase: vdi.PhaseFailed, waiting: vdi.WaitingForVolume, stalled: true, retry: deniedRetry,
	}
}

// applyHome makes the home when there is none and lets it grow; beside who holds
// it and that it was left, nothing else of a claim is ever written.
func (r *Reconciler) applyHome(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	if p.seen.claim != nil {
		if err := usableHome(p.session, p.seen.claim); err != nil {
			return err // also a session that does not start leaves another's home alone
		}
		if err := r.takeHome(ctx, p); err != nil {
			return err
		}
		p.homeDiffers = differs(p.seen.claim, o)
		return r.growHome(ctx, p, o)
	}
	if p.homeGone {
		return nil // a new one now would stand in the way of bringing the old one back
	}
	made := o.DeepCopy()
	if p.starting() {
		homes.Hold(made, p.session.UID) // it is born with its holder
		r.released.delete(client.ObjectKeyFromObject(p.session))
	}
	err := r.Client.Create(ctx, made, client.FieldOwner(FieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return r.findHome(ctx, p, o.GetName())
	}
	if err != nil {
		return classify(o.GetKind(), err)
	}
	logf.FromContext(ctx).Info("created", "kind", o.GetKind(), "name", o.GetName())
	claim := &corev1.PersistentVolumeClaim{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, claim); err != nil {
		return fmt.Errorf("read back home: %w", err)
	}
	p.seen.claim = claim
	p.home = homeStatus(p)
	return nil
}

// findHome looks at a claim that the cache does not show.
func (r *Reconciler) findHome(ctx context.Context, p *pass, name string) error {
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.session.Namespace, Name: name}, claim); err != nil {
		return fmt.Errorf("read existing home: %w", err)
	}
	if err := usableHome(p.session, claim); err != nil {
		return err
	}
	p.seen.claim = claim
	p.home = homeStatus(p)
	if !p.starting() {
		return r.takeHome(ctx, p)
	}
	if err := mountable(claim); err != nil {
		return err
	}
	return r.hold(ctx, p, claim)
}

// growHome raises the claim's request. A volume cannot shrink, and whether it
// grows is the cluster's to say: a desktop starts, runs and stops without that.
func (r *Reconciler) growHome(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	wish, found, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
	if !found || !homes.MadeByOperator(p.seen.claim) {
		return nil
	}
	size, err := resource.ParseQuantity(wish)
	if err != nil {
		return fmt.Errorf("size of home: %w", err)
	}
	current := p.seen.claim.Spec.Resources.Requests[corev1.ResourceStorage]
	switch size.Cmp(current) {
	case 0:
		return nil
	case -1:
		p.sizeRefused = &halt{
			reason:  vdi.ReasonHomeShrinkRefused,
			message: "The home stays as large as it is: a volume cannot shrink (spec.persistence.size)",
		}
		return nil
	}
	before, grown := p.seen.claim, p.seen.claim.DeepCopy()
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = size
	err = r.patchClaim(ctx, before, grown)
	switch {
	case err == nil:
		p.seen.claim = grown
	case isRefusal(err):
		p.sizeRefused = &halt{
			reason:  vdi.ReasonHomeGrowthRefused,
			message: fmt.Sprintf("The home stays at %s: the cluster refused to let it grow to %s (spec.persistence.size): %s", current.String(), size.String(), serverWords(err)),
		}
		p.look(deniedRetry)
		return nil
	}
	return err
}

// homeStatus shows what the home is, from what was seen. A claim that is not
// this user's is never recorded: what is recorded may be deleted with the session.
func homeStatus(p *pass) *vdi.HomeStatus {
	name := p.homeInForce()
	kept := retained(p, name)
	if name == "" && len(kept) == 0 {
		return nil
	}
	h := &vdi.HomeStatus{ClaimName: name, RetainedClaims: kept}
	if claim := p.seen.claimNamed(name); claim != nil && usableHome(p.session, claim) == nil {
		h.UID, h.CreatedByOperator = claim.UID, homes.MadeByOperator(claim)
	}
	rules, _ := p.rules()
	if keep := retainForOf(p.session.Spec, rules); keep > 0 && name == renderer.HomeClaimName(p.session.Name) {
		h.RetainFor = keep.String()
	}
	return h
}

// retained lists the session's own claim when it is kept but not mounted.
func retained(p *pass, inForce string) []string {
	c := p.seen.claim
	if c == nil || c.Name == inForce || c.Labels[wire.LabelUser] != platform.Identity(p.session.Spec.User) {
		return nil
	}
	return []string{c.Name}
}
