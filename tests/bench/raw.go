package bench

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
	"github.com/vdi-platform/vdi-platform/tests/scale"
)

// raw is the floor: a client that writes the session, the very children that
// the operator makes and one status, and looks at nothing.
func raw() contender {
	return contender{
		name: Raw, settings: "8 writers, unthrottled; session, 6 children, 1 status each",
		users: []string{scale.DriverUser}, asked: "vdisessions",
		ask: askRaw, done: sessionsDone, is: sessionRuns, pod: samePod,
	}
}

func askRaw(ctx context.Context, b *bed, i int) error {
	s := b.session(i)
	if err := b.Driver.Create(ctx, s); err != nil {
		return err
	}
	if err := b.createChildren(ctx, s); err != nil {
		return err
	}
	before := s.DeepCopy()
	s.Status = finalStatus(b, s)
	return b.Driver.Status().Patch(ctx, s, client.MergeFrom(before))
}

// createChildren writes the Secret and what is rendered.
func (b *bed) createChildren(ctx context.Context, s *vdi.VDISession) error {
	if err := b.Driver.Create(ctx, secret(s)); err != nil {
		return err
	}
	objects, err := b.rendered(s)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := b.Driver.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// finalStatus is as large as what the operator writes.
func finalStatus(b *bed, s *vdi.VDISession) vdi.VDISessionStatus {
	now := metav1.Now()
	host, _ := platform.Host(b.operator.Config.Sessions, s.Spec.User, s.Name, s.Namespace, string(s.UID))
	status := vdi.VDISessionStatus{
		ObservedGeneration: s.Generation, Phase: vdi.PhaseRunning, PhaseSince: &now, StartTime: &now, ExpiresAt: &now,
		ExpiryReason: vdi.StopExpired, Identity: platform.Identity(s.Spec.User), PodName: s.Name, Host: host,
		URL: platform.URL(b.operator.Config.Sessions, host), CredentialsSecret: renderer.CredentialsName(s.Name),
		Message: "The desktop is ready at " + host,
		Home:    &vdi.HomeStatus{ClaimName: renderer.HomeClaimName(s.Name), CreatedByOperator: true},
		Timings: &vdi.TimingsStatus{Queued: &now, Scheduled: &now, ImagePulled: &now, Ready: &now},
	}
	for _, kind := range []string{
		vdi.ConditionReady, vdi.ConditionStalled, vdi.ConditionAccepted, vdi.ConditionHomeReady,
		vdi.ConditionScheduled, vdi.ConditionDesktopReady, vdi.ConditionReachable,
	} {
		status.Conditions = append(status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: vdi.ReasonAsExpected,
			Message: "As the operator would say it here", LastTransitionTime: now, ObservedGeneration: s.Generation,
		})
	}
	return status
}
