package session

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// What somebody does to a home under its session is reported, and no other home is put
// in its place before the next start.

// missHome notices that the claim which the session had is gone. Kubernetes keeps a claim
// that a pod uses, but whoever takes its finalizer away can remove it. Only words and the
// place of the claim depend on it, so an API server that cannot be asked holds up nothing.
func (r *Reconciler) missHome(ctx context.Context, p *pass) error {
	if p.seen.claim != nil || !p.hadHome() || p.starting() || (p.seen.podLives() && !hasStarted(p.seen.pod)) {
		return nil
	}
	if p.seen.podLives() && !p.lateBy(lateAppearance) {
		return nil // the cache may be late
	}
	there, err := r.readLive(ctx, p.session, newMetadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), p.homeInForce()))
	if err != nil {
		logf.FromContext(ctx).Error(err, "whether the home is still there is unknown")
	}
	p.homeGone = err == nil && !there
	return nil
}

// hadHome tells whether the session had a home of its own name, as it is to have now.
func (p *pass) hadHome() bool {
	home, name := p.session.Status.Home, p.homeInForce()
	return name == renderer.HomeClaimName(p.session.Name) && home != nil && home.ClaimName == name && home.UID != ""
}

// homeTrouble is what is wrong with the home of a desktop, or of its next start; nil when
// nothing is known.
func (p *pass) homeTrouble() *fact {
	name := p.homeInForce()
	claim := p.seen.claimNamed(name)
	var f fact
	switch {
	case p.homeGone:
		f = isFalse(vdi.ReasonHomeMissing, fmt.Sprintf("The claim of the home %s has been removed. What a desktop that still runs has there, save elsewhere: the next start makes a new, empty home, unless an administrator brings the claim back before", name))
	case claim == nil:
		return nil
	case isLost(claim):
		f = isFalse(vdi.ReasonHomeLost, lostWords(claim))
	case claim.DeletionTimestamp != nil && p.seen.podLives():
		f = isFalse(vdi.ReasonHomeLeaving, fmt.Sprintf("Somebody has deleted the home %s. Kubernetes keeps it while this desktop runs and removes it, with its files where its volume is not retained, when the desktop stops: save elsewhere what is needed", name))
	default:
		return nil
	}
	return &f
}

// isLost tells whether a claim's volume is gone from the cluster. It never comes back to it.
func isLost(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Status.Phase == corev1.ClaimLost
}

func lostWords(claim *corev1.PersistentVolumeClaim) string {
	return fmt.Sprintf("The home %s has lost its volume: its PersistentVolume was removed. An administrator can bring back a volume of the same name, or a backup; without one, kubectl delete pvc -n %s %s lets the next start make a new, empty home", claim.Name, claim.Namespace, claim.Name)
}

// notLost halts where a desktop would wait for ever for its volume.
func notLost(claim *corev1.PersistentVolumeClaim) error {
	if !isLost(claim) {
		return nil
	}
	return homeHalt(vdi.ReasonHomeLost, lostWords(claim))
}

// isReplaced tells whether the session's home is another one than it had.
func (p *pass) isReplaced(name string) bool {
	is, was := p.home, p.session.Status.Home
	switch {
	case is == nil || is.ClaimName != name:
		return false
	case is.ReplacedUID != "":
		return true
	default: // found by this pass
		return was != nil && was.ClaimName == name && was.UID != "" && is.UID != "" && was.UID != is.UID
	}
}

// differs says in what a claim is not what would be made now; "" where it is.
func differs(claim *corev1.PersistentVolumeClaim, wished *unstructured.Unstructured) string {
	var parts []string
	class, asked, _ := unstructured.NestedString(wished.Object, "spec", "storageClassName")
	if has := claim.Spec.StorageClassName; asked && has != nil && *has != class {
		parts = append(parts, fmt.Sprintf("its storage class is %q, not %q (spec.persistence.storageClassName)", *has, class))
	}
	modes, _, _ := unstructured.NestedStringSlice(wished.Object, "spec", "accessModes")
	has := make([]string, len(claim.Spec.AccessModes))
	for i, mode := range claim.Spec.AccessModes {
		has[i] = string(mode)
	}
	if len(has) > 0 && len(modes) > 0 && !slices.Equal(has, modes) {
		parts = append(parts, fmt.Sprintf("its access mode is %s, not %s (spec.persistence.accessMode)", strings.Join(has, ", "), strings.Join(modes, ", ")))
	}
	return strings.Join(parts, "; ")
}
