package homes

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// Labels of everything the operator makes.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "vdi-operator"
	labelInstance  = "app.kubernetes.io/instance"
)

// MadeByOperator tells a home that the operator made from every other claim: one
// that was planted, that a person made by hand, or that an administrator
// vouched for with the label vdi.kasm.io/home-for.
func MadeByOperator(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Labels[labelManagedBy] == managedBy &&
		claim.Annotations[vdi.AnnotationSessionUID] != "" &&
		claim.Labels[vdi.LabelHomeFor] == ""
}

// SessionOf is the name of the session whose home the claim is; empty when it
// is nobody's.
func SessionOf(claim *corev1.PersistentVolumeClaim) string {
	name := claim.Labels[labelInstance]
	if name == "" || renderer.HomeClaimName(name) != claim.Name {
		return ""
	}
	return name
}

// Left tells whether the home is marked as left behind.
func Left(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Labels[vdi.LabelRetained] != ""
}

// Leave marks a home that its session leaves now, by the API server's clock, to
// be kept for a while from then on; 0 keeps it for ever. The claim is changed,
// not written.
func Leave(claim *corev1.PersistentVolumeClaim, now time.Time, keep time.Duration) {
	Take(claim)
	if claim.Labels == nil {
		claim.Labels = map[string]string{}
	}
	if claim.Annotations == nil {
		claim.Annotations = map[string]string{}
	}
	claim.Labels[vdi.LabelRetained] = "true"
	claim.Annotations[vdi.AnnotationRetainedSince] = stamp(now)
	claim.Annotations[vdi.AnnotationRetainedUID] = string(claim.UID)
	if keep > 0 {
		claim.Annotations[vdi.AnnotationRetainFor] = keep.String()
	}
}

// Take removes the mark from a home that a session has again. The claim is
// changed, not written.
func Take(claim *corev1.PersistentVolumeClaim) {
	delete(claim.Labels, vdi.LabelRetained)
	for _, key := range []string{
		vdi.AnnotationRetainedSince, vdi.AnnotationRetainedUID, vdi.AnnotationRetainFor, vdi.AnnotationDeletionWarned,
	} {
		delete(claim.Annotations, key)
	}
}

// mark is what is written on a home whose time is limited.
type mark struct {
	since  time.Time
	keep   time.Duration
	warned time.Time // zero: not announced yet
}

// markOf reads the mark. A home without an end has none, and neither has one
// whose mark cannot be read or speaks of another claim: in doubt it is kept.
func markOf(claim *corev1.PersistentVolumeClaim) (mark, bool) {
	a := claim.Annotations
	since, errSince := time.Parse(time.RFC3339, a[vdi.AnnotationRetainedSince])
	keep, errKeep := time.ParseDuration(a[vdi.AnnotationRetainFor])
	if errSince != nil || errKeep != nil || keep <= 0 || !Left(claim) ||
		claim.UID == "" || a[vdi.AnnotationRetainedUID] != string(claim.UID) {
		return mark{}, false
	}
	warned, err := time.Parse(time.RFC3339, a[vdi.AnnotationDeletionWarned])
	if err != nil {
		warned = time.Time{} // what nobody can read was not announced
	}
	return mark{since: since, keep: keep, warned: warned}, true
}

// stamp rounds up to whole seconds, so that no time written is too early.
func stamp(t time.Time) string {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339)
}
