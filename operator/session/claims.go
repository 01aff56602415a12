package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/verdict"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// inspectClaims refuses to start a desktop on claims, beside its home, that no
// administrator has given to desktops: a template could else name anybody's. They are
// not watched, and read only when such a desktop starts.
func (r *Reconciler) inspectClaims(ctx context.Context, p *plan.Pass) error {
	if !p.Starting() {
		return nil
	}
	for _, name := range p.Claims {
		claim := objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), name)
		there, err := r.readLive(ctx, p.Session, claim)
		switch {
		case err != nil:
			return err
		case !there:
			return claimHalt(fmt.Sprintf("Template %q mounts the PersistentVolumeClaim %q, which does not exist in namespace %q. An administrator can make it, with the label %s=true", p.Template.Name, name, p.Session.Namespace, wire.LabelForDesktops))
		case claim.Labels[wire.LabelForDesktops] != wire.LabelOn:
			return claimHalt(fmt.Sprintf("Template %q mounts the PersistentVolumeClaim %q, which is not for desktops. An administrator can allow it: kubectl label pvc -n %s %s %s=true", p.Template.Name, name, p.Session.Namespace, name, wire.LabelForDesktops))
		}
	}
	return nil
}

// claimHalt looks again after a while: nobody reports a label on a claim that is not watched.
func claimHalt(message string) *verdict.Verdict {
	return &verdict.Verdict{
		Condition: vdi.ConditionAccepted, Reason: vdi.ReasonClaimNotAllowed, Message: message,
		Phase: vdi.PhaseFailed, Waiting: vdi.WaitingForVolume, Stalled: true, Retry: verdict.DeniedRetry,
	}
}
