package homes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/homes/kept"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// InUse stops a start while somebody else has the home.
func InUse(claim, user string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionHomeReady, Reason: vdi.ReasonHomeInUse, Phase: vdi.PhasePending, Waiting: vdi.WaitingForVolume,
		Message: fmt.Sprintf("The home %q is in use by the %s; it starts when that one ends", claim, user),
	}
}

// mayUse reports whether a session has the claim as its home, wishes to, or may be
// about to: what was last wished is not looked at yet.
func mayUse(s *vdi.VDISession, claim string) bool {
	return ClaimName(s) == claim || RecordedClaimName(s) == claim || s.Status.ObservedGeneration != s.Generation
}

// RecordedClaimName is the claim that the status names.
func RecordedClaimName(s *vdi.VDISession) string {
	if s.Status.Home == nil {
		return ""
	}
	return s.Status.Home.ClaimName
}

// ClaimName is the claim a session's home lies in; empty for a scratch home.
func ClaimName(s *vdi.VDISession) string {
	switch {
	case !Persistent(s):
		return ""
	case s.Spec.Persistence.ExistingClaim != "":
		return s.Spec.Persistence.ExistingClaim
	default:
		return wire.PrefixHome + s.Name
	}
}

// Persistent reports whether a session keeps its home. Unset means true, as the API says.
func Persistent(s *vdi.VDISession) bool {
	return s.Spec.Persistence.Enabled == nil || *s.Spec.Persistence.Enabled
}

// Mountable returns a verdict while a desktop could not use the claim.
func Mountable(claim *corev1.PersistentVolumeClaim) error {
	if err := notLeaving(claim); err != nil {
		return err
	}
	return NotLost(claim)
}

// notLeaving returns a verdict while a home is being deleted; the desktop starts with a new one when
// it is gone. That wakes us, but for one that an administrator made, which is not watched.
func notLeaving(claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp == nil {
		return nil
	}
	return &verdict.Verdict{
		Condition: vdi.ConditionHomeReady, Reason: vdi.ReasonWaiting, Phase: vdi.PhasePending, Waiting: vdi.WaitingForVolume,
		Message: fmt.Sprintf("The home %q is being deleted; the desktop starts with a new one when it is gone", claim.Name),
		Retry:   verdict.DeniedRetry,
	}
}

// Usable returns a verdict unless the claim is this identity's: made by the operator for
// it, or labelled for it by an administrator. A planted home is a poisoned .bashrc.
func Usable(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) error {
	identity := platform.Identity(s.Spec.User)
	made := kept.MadeByOperator(claim)
	switch {
	case claim.Labels[wire.LabelHomeFor] == identity:
		return nil
	case made && claim.Labels[wire.LabelUser] == identity:
		return nil
	case made:
		return Refused(vdi.ReasonHomeOfAnotherUser, fmt.Sprintf("The home %q belongs to another user. Use another session name; or, where it is the same person's, an administrator can hand it over: %s", claim.Name, handOver(claim, identity)))
	default:
		return Refused(vdi.ReasonHomeNotOurs, fmt.Sprintf("The PersistentVolumeClaim %q was not made by the operator, so it is not used as a home. An administrator can allow it: %s", claim.Name, handOver(claim, identity)))
	}
}

// handOver is the command that gives a claim to a person.
func handOver(claim *corev1.PersistentVolumeClaim, identity string) string {
	return fmt.Sprintf("kubectl label pvc -n %s %s --overwrite %s=%s", claim.Namespace, claim.Name, wire.LabelHomeFor, identity)
}

// Refused stops a start on a home that cannot be used.
func Refused(reason, message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionHomeReady, Reason: reason, Message: message,
		Phase: vdi.PhaseFailed, Waiting: vdi.WaitingForVolume, Stalled: true, Retry: verdict.DeniedRetry,
	}
}

// IsLost reports whether a claim's volume is gone from the cluster. It never comes back to it.
func IsLost(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Status.Phase == corev1.ClaimLost
}

// LostWords say what can be done about a home whose volume is gone.
func LostWords(claim *corev1.PersistentVolumeClaim) string {
	return fmt.Sprintf("The home %s has lost its volume: its PersistentVolume was removed. An administrator can bring back a volume of the same name, or a backup; without one, kubectl delete pvc -n %s %s lets the next start make a new, empty home", claim.Name, claim.Namespace, claim.Name)
}

// NotLost returns a verdict where a desktop would wait for ever for its volume.
func NotLost(claim *corev1.PersistentVolumeClaim) error {
	if !IsLost(claim) {
		return nil
	}
	return Refused(vdi.ReasonHomeLost, LostWords(claim))
}

// Differences says in what a claim is not what would be made now; "" where it is.
func Differences(claim *corev1.PersistentVolumeClaim, wished *unstructured.Unstructured) string {
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

// WasHomeOf reports whether the claim is the very one this session had as its home
// to the end.
func WasHomeOf(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	home := s.Status.Home
	return ClaimName(s) == claim.Name && s.Spec.Persistence.ExistingClaim == "" &&
		home != nil && home.CreatedByOperator && home.UID != "" && home.UID == claim.UID
}

// MadeFor reports whether the operator made the claim for this session's user.
func MadeFor(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	return kept.MadeByOperator(claim) && claim.Labels[wire.LabelUser] == platform.Identity(s.Spec.User)
}

// RetainFor is how long a home is kept after its session: the session's wish,
// else the template's default. 0 means for ever.
func RetainFor(spec vdi.VDISessionSpec, rules vdi.TemplateLifecycle) time.Duration {
	return spec.Persistence.RetainFor.Or(rules.RetainHomesFor.Or(0))
}

// Fingerprint is what a session reads of a home: whose it is and whether it was left, which
// its labels say, whether it leaves, and its size.
func Fingerprint(claim *corev1.PersistentVolumeClaim) string {
	if claim == nil {
		return ""
	}
	return fmt.Sprint(claim.UID, claim.Labels, kept.MadeByOperator(claim), claim.DeletionTimestamp != nil, claim.Spec.Resources.Requests.Storage())
}

// MayTakeBack reports whether a home that was left is the session's again: another person's
// session of the same name has no part in it.
func MayTakeBack(s *vdi.VDISession, claim *corev1.PersistentVolumeClaim) bool {
	return ClaimName(s) == claim.Name && kept.Left(claim) && kept.MadeByOperator(claim) && isOf(claim, s)
}
