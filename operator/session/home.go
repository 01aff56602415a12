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

func (r *Reconciler) inspectClaim(ctx context.Context, p *pass, name string) error {
	if name != p.session.Spec.Persistence.ExistingClaim {
		if p.seen.claim == nil {
			return nil // not made yet; the create will tell
		}
		return usableHome(p.session, p.seen.claim)
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
	return usableHome(p.session, claim)
}

// usableHome halts unless the claim is this identity's: made by the operator for
// it, or labelled for it by an administrator. A planted home is a poisoned .bashrc.
func usableHome(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	identity := platform.Identity(s.Spec.User)
	made := madeByOperator(claim)
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

// madeByOperator: an administrator's label means that somebody else vouched for
// the claim, so it is never treated as the operator's own.
func madeByOperator(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Labels[labelManagedBy] == managedBy &&
		claim.Annotations[vdi.AnnotationSessionUID] != "" &&
		claim.Labels[vdi.LabelHomeFor] == ""
}

func homeHalt(reason, message string) *halt {
	return &halt{
		condition: vdi.ConditionHomeReady, reason: reason, message: message,
		phase: vdi.PhaseFailed, waiting: vdi.WaitingForVolume, stalled: true, retry: deniedRetry,
	}
}

// oneWriter keeps a second desktop off a claim: ReadWriteOnce is per node, not per pod.
func (r *Reconciler) oneWriter(ctx context.Context, p *pass, claim string) error {
	pods := &corev1.PodList{}
	err := r.Client.List(ctx, pods, client.InNamespace(p.session.Namespace), client.MatchingLabels{labelName: sessionName})
	if err != nil {
		return fmt.Errorf("list pods that use home %q: %w", claim, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !podEnded(pod) && mounts(pod, claim) {
			return &halt{
				condition: vdi.ConditionHomeReady, reason: vdi.ReasonHomeInUse, phase: vdi.PhasePending,
				waiting: vdi.WaitingForVolume, retry: ownerGoneRetry * 5,
				message: fmt.Sprintf("The home %q is in use by the desktop %q; it starts when that one ends", claim, pod.Name),
			}
		}
	}
	return nil
}

func mounts(pod *corev1.Pod, claim string) bool {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim {
			return true
		}
	}
	return false
}

// applyHome makes the home when there is none and lets it grow; nothing else of
// a claim is ever written.
func (r *Reconciler) applyHome(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	if p.seen.claim != nil {
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
	return nil
}

// growHome raises the claim's request. A volume cannot shrink.
func (r *Reconciler) growHome(ctx context.Context, p *pass, o *unstructured.Unstructured) error {
	wish, found, _ := unstructured.NestedString(o.Object, "spec", "resources", "requests", "storage")
	if !found || !madeByOperator(p.seen.claim) {
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

// homeStatus tells what the home is, from what was seen.
func homeStatus(p *pass) *vdi.HomeStatus {
	name := homeClaim(p.session)
	kept := retained(p, name)
	if name == "" && len(kept) == 0 {
		return nil
	}
	h := &vdi.HomeStatus{ClaimName: name, RetainedClaims: kept}
	if p.seen.claim != nil && p.seen.claim.Name == name {
		h.UID, h.CreatedByOperator = p.seen.claim.UID, madeByOperator(p.seen.claim)
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
