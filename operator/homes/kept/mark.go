// Package kept knows the homes that the operator made: whose they are, which their sessions have
// left, and how long these are kept. It decides only, by what stands on the claims; package
// homes writes.
package kept

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// MadeByOperator distinguishes a home that the operator made from every other claim: one
// that was planted, that a person made by hand, or that an administrator
// vouched for with the label vdi.kasm.io/home-for.
func MadeByOperator(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Labels[wire.LabelManagedBy] == wire.Operator &&
		claim.Annotations[wire.AnnotationSessionUID] != "" &&
		claim.Labels[wire.LabelHomeFor] == ""
}

// SessionOf is the name of the session whose home the claim is; empty when it
// is nobody's.
func SessionOf(claim *corev1.PersistentVolumeClaim) string {
	name := claim.Labels[wire.LabelInstance]
	if name == "" || wire.PrefixHome+name != claim.Name {
		return ""
	}
	return name
}

// Left reports whether the home is marked as left behind.
func Left(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Labels[wire.LabelRetained] != ""
}

// HomeLeft reports whether a claim is a home of the operator's making that its session has left
// and that nobody deletes already.
func HomeLeft(claim *corev1.PersistentVolumeClaim) bool {
	return claim.DeletionTimestamp == nil && Left(claim) && MadeByOperator(claim) && SessionOf(claim) != ""
}

// Leave marks a home that its session leaves now, by the API server's clock, to
// be kept for a while from then on; 0 keeps it for ever. The claim is changed,
// not written.
func Leave(claim *corev1.PersistentVolumeClaim, now time.Time, keep time.Duration) {
	name := claim.Annotations[wire.AnnotationDisplayName] // of whoever had it last
	Take(claim)
	if claim.Labels == nil {
		claim.Labels = map[string]string{}
	}
	if claim.Annotations == nil {
		claim.Annotations = map[string]string{}
	}
	claim.Labels[wire.LabelRetained] = wire.LabelOn
	claim.Annotations[wire.AnnotationRetainedSince] = Stamp(now)
	claim.Annotations[wire.AnnotationRetainedUID] = string(claim.UID)
	if keep > 0 {
		claim.Annotations[wire.AnnotationRetainFor] = keep.String()
	}
	if name != "" {
		claim.Annotations[wire.AnnotationDisplayName] = name
	}
}

// Take removes the mark from a home that a session has again. The claim is
// changed, not written.
func Take(claim *corev1.PersistentVolumeClaim) {
	delete(claim.Labels, wire.LabelRetained)
	for _, key := range []string{
		wire.AnnotationRetainedSince, wire.AnnotationRetainedUID, wire.AnnotationRetainFor, wire.AnnotationDeletionWarned,
		wire.AnnotationDisplayName,
	} {
		delete(claim.Annotations, key)
	}
}

// Mark is what is written on a home whose time is limited.
type Mark struct {
	Since  time.Time     // its session left it
	For    time.Duration // it is kept from then on
	Warned time.Time     // its deletion was announced; zero: not yet
}

// MarkOf reads the mark. A home without an end has none, and neither has one
// whose mark cannot be read or speaks of another claim: in doubt it is kept.
func MarkOf(claim *corev1.PersistentVolumeClaim) (Mark, bool) {
	a := claim.Annotations
	since, errSince := time.Parse(time.RFC3339, a[wire.AnnotationRetainedSince])
	keep, errKeep := time.ParseDuration(a[wire.AnnotationRetainFor])
	if errSince != nil || errKeep != nil || keep <= 0 || !Left(claim) ||
		claim.UID == "" || a[wire.AnnotationRetainedUID] != string(claim.UID) {
		return Mark{}, false
	}
	warned, err := time.Parse(time.RFC3339, a[wire.AnnotationDeletionWarned])
	if err != nil {
		warned = time.Time{} // what nobody can read was not announced
	}
	return Mark{Since: since, For: keep, Warned: warned}, true
}

// Stamp rounds up to whole seconds, so that no time written is too early.
func Stamp(t time.Time) string {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339)
}
