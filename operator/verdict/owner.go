package verdict

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// OwnedBy returns a verdict unless the session controls the object.
func OwnedBy(s *vdi.VDISession, o metav1.Object, kind string) error {
	if metav1.IsControlledBy(o, s) {
		return nil
	}
	owner := metav1.GetControllerOf(o)
	if owner != nil && owner.Kind == wire.KindSession && owner.Name == s.Name {
		return &Verdict{
			Condition: vdi.ConditionScheduled, Reason: vdi.ReasonWaiting, Phase: vdi.PhasePending,
			Message: fmt.Sprintf("The %s of the former session %q is still being removed", kind, s.Name),
			Retry:   OwnerGoneRetry,
		}
	}
	return &Verdict{
		Condition: vdi.ConditionNameConflict, Reason: vdi.ReasonNameTaken, Phase: vdi.PhaseFailed, Stalled: true, Conflict: true,
		Message: fmt.Sprintf("%s %q exists and was not made by the operator; it is left alone. Remove or rename it, or use another session name", kind, o.GetName()),
		Retry:   DeniedRetry,
	}
}
