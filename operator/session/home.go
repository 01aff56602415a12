package session

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// labelManagedBy marks what the operator made.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "vdi-operator"
	labelName      = "app.kubernetes.io/name"
	sessionName    = "vdi-session"
	labelInstance  = "app.kubernetes.io/instance"
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

// inspectHome refuses to start a desktop on a home that is another person's or
// that another desktop writes to.
func (r *Reconciler) inspectHome(ctx context.Context, p *pass) error {
	claim := homeClaim(p.session)
	if claim != "" && p.starting() {
		if err := r.takeTurn(ctx, p, claim); err != nil {
			return err
		}
		if err := r.inspectClaim(ctx, p, claim); err != nil {
			return err
		}
		if err := r.oneWriter(ctx, p, claim); err != nil {
			return err
		}
	}
	p.home = homeStatus(p)
	return nil
}

// takeTurn lets desktops start one after another where several sessions could
// start on the claim.
func (r *Reconciler) takeTurn(ctx context.Context, p *pass, claim string) error {
	shared, err := r.namedAsExisting(ctx, p.session.Namespace, claim)
	if err == nil && shared {
		r.existing.Lock()
		p.claimLock = &r.existing
	}
	return err
}

// namedAsExisting tells whether any session names the claim as its existing one.
func (r *Reconciler) namedAsExisting(ctx context.Context, namespace, claim string) (bool, error) {
	list := &vdi.VDISessionList{}
	if err := r.Client.List(ctx, list, r.onClaim(namespace, claim)...); err != nil {
		return false, fmt.Errorf("list sessions that name home %q: %w", claim, err)
	}
	return slices.ContainsFunc(list.Items, func(s vdi.VDISession) bool {
		return s.Spec.Persistence.ExistingClaim == claim
	}), nil
}

func (r *Reconciler) inspectClaim(ctx context.Context, p *pass, name string) error {
	if name != p.session.Spec.Persistence.ExistingClaim {
		if p.seen.claim == nil {
			return nil // not made yet; the create will tell
		}
		if err := usableHome(p.session, p.seen.claim); err != nil {
			return err
		}
		return notLeaving(p.seen.claim)
	}
	claim := &corev1.PersistentVolumeClaim{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.session.Namespace, Name: name}, claim)
	if apierrors.IsNotFound(err) {
		return homeHalt(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: there is no PersistentVolumeClaim %q in namespace %q", name, p.session.Namespace))
	}
	if err != nil {
		return fmt.Errorf("read existing claim: %w", err)
	}
	p.seen.claim = claim
	return r.useExisting(ctx, p, claim)
}

// useExisting takes over an existing claim that is this user's. It may be a home
// that another session of theirs has left.
func (r *Reconciler) useExisting(ctx context.Context, p *pass, claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp != nil {
		return homeHalt(vdi.ReasonHomeNotFound, fmt.Sprintf("spec.persistence.existingClaim: the PersistentVolumeClaim %q is being deleted", claim.Name))
	}
	if err := usableHome(p.session, claim); err != nil {
		return err
	}
	return r.takeHome(ctx, p)
}

// notLeaving halts while a home of ours is being deleted; its end wakes us, and
// the desktop starts with a new one.
func notLeaving(claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp == nil {
		return nil
	}
	return &halt{
		condition: vdi.ConditionHomeReady, reason: vdi.ReasonWaiting, phase: vdi.PhasePending, waiting: vdi.WaitingForVolume,
		message: fmt.Sprintf("The home %q is being deleted; the desktop starts with a new one when it is gone", claim.Name),
	}
}

// usableHome halts unless the claim is this identity's: made by the operator for
// it, or labelled for it by an administrator. A planted home is a poisoned .bashrc.
func usableHome(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	identity := platform.Identity(s.Spec.User)
	made := homes.MadeByOperator(claim)
	switch {
	case claim.Labels[vdi.LabelHomeFor] == identity:
		return nil
	case made && claim.Labels[vdi.LabelUser] == identity:
		return nil
	case made:
		return homeHalt(vdi.ReasonHomeOfAnotherUser, fmt.Sprintf("The home %q belongs to another user; homes are never handed over. Use another session name", claim.Name))
	default:
		return homeHalt(vdi.ReasonHomeNotOurs, fmt.Sprintf("The PersistentVolumeClaim %q was not made by the operator, so it is not used as a home. An administrator can allow it: kubectl label pvc -n %s %s %s=%s", claim.Name, claim.Namespace, claim.Name, vdi.LabelHomeFor, identity))
	}
}

func homeHalt(reason, message string) *halt {
	return &halt{
		condition: vdi.ConditionHomeReady, reason: reason, message: message,
		phase: vdi.PhaseFailed, waiting: vdi.WaitingForVolume, stalled: true, retry: deniedRetry,
	}
}

// oneWriter keeps a second desktop off a claim: ReadWriteOnce is per node, not
// per pod. A home that one session alone knows is looked up among the pods that
// are watched; for a shared one the API server itself is asked about every pod.
func (r *Reconciler) oneWriter(ctx context.Context, p *pass, claim string) error {
	pods := &corev1.PodList{}
	from, which := client.Reader(r.Client), append(r.onClaim(p.session.Namespace, claim), client.MatchingLabels{labelName: sessionName})
	if p.claimLock != nil {
		from, which = r.Live, []client.ListOption{client.InNamespace(p.session.Namespace)}
	}
	if err := from.List(ctx, pods, which...); err != nil {
		return fmt.Errorf("list pods that use home %q: %w", claim, err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; !podEnded(pod) && mounts(pod, claim) && !metav1.IsControlledBy(pod, p.session) {
			return inUse(claim, pod)
		}
	}
	return nil
}

// inUse halts until the holder of a home ends: for a desktop of ours its end
// wakes us, of others nobody tells.
func inUse(claim string, pod *corev1.Pod) *halt {
	h := &halt{
		condition: vdi.ConditionHomeReady, reason: vdi.ReasonHomeInUse, phase: vdi.PhasePending, waiting: vdi.WaitingForVolume,
		message: fmt.Sprintf("The home %q is in use by the desktop %q; it starts when that one ends", claim, pod.Name),
	}
	if pod.Labels[labelName] != sessionName || pod.Labels[labelManagedBy] != managedBy {
		h.message = fmt.Sprintf("The home %q is in use by the pod %q, which is no desktop of this platform; it starts when that one ends", claim, pod.Name)
		h.retry = deniedRetry
	}
	return h
}

func mounts(pod *corev1.Pod, claim string) bool { return slices.Contains(homes.ClaimsOf(pod), claim) }

// applyHome makes the home when there is none and lets it grow; nothing else of
// a claim is ever written.
func (r *Reconciler) applyHome(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	if p.seen.claim != nil {
		if usableHome(p.session, p.seen.claim) != nil {
			return nil // also a session that does not start leaves another's home alone
		}
		if err := r.takeHome(ctx, p); err != nil {
			return err
		}
		return r.growHome(ctx, p, o)
	}
	made := o.DeepCopy()
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
	return r.takeHome(ctx, p)
}

// growHome raises the claim's request. A volume cannot shrink.
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
		p.shrinkRefused = true
		return nil
	}
	before := p.seen.claim.DeepCopy()
	p.seen.claim.Spec.Resources.Requests[corev1.ResourceStorage] = size
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, p.seen.claim, patch, client.FieldOwner(FieldOwner)); err != nil {
		return classify("PersistentVolumeClaim", err)
	}
	return nil
}

// homeStatus tells what the home is, from what was seen. A claim that is not
// this user's is never recorded: what is recorded may be deleted with the session.
func homeStatus(p *pass) *vdi.HomeStatus {
	name := homeClaim(p.session)
	kept := retained(p, name)
	if name == "" && len(kept) == 0 {
		return nil
	}
	h := &vdi.HomeStatus{ClaimName: name, RetainedClaims: kept}
	if p.seen.claim != nil && p.seen.claim.Name == name && usableHome(p.session, p.seen.claim) == nil {
		h.UID, h.CreatedByOperator = p.seen.claim.UID, homes.MadeByOperator(p.seen.claim)
	}
	if keep := retainForOf(p.session.Spec, p.lifecycleRules()); keep > 0 && name == renderer.HomeClaimName(p.session.Name) {
		h.RetainFor = keep.String()
	}
	return h
}

// retained lists the session's own claim when it is kept but not mounted.
func retained(p *pass, inUse string) []string {
	c := p.seen.claim
	if c == nil || c.Name == inUse || c.Labels[vdi.LabelUser] != platform.Identity(p.session.Spec.User) {
		return nil
	}
	return []string{c.Name}
}
