package session

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/vdi-platform/vdi-platform/operator/objects"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// What somebody does to a home under its session is reported, and no other home is put
// in its place before the next start.

// missHome notices that the claim which the session had is gone. Kubernetes keeps a claim
// that a pod uses, but whoever takes its finalizer away can remove it. Only words and the
// place of the claim depend on it, so an API server that cannot be asked holds up nothing.
func (r *Reconciler) missHome(ctx context.Context, p *plan.Pass) error {
	if p.Seen.Claim != nil || !p.HadHome() || p.Starting() || (p.Seen.PodLives() && !desktop.HasStarted(p.Seen.Pod)) {
		return nil
	}
	if p.Seen.PodLives() && !p.LateBy(lateAppearance) {
		return nil // the cache may be late
	}
	there, err := r.readLive(ctx, p.Session, objects.Metadata(corev1.SchemeGroupVersion.WithKind(wire.KindPersistentVolumeClaim), p.HomeInForce()))
	if err != nil {
		logf.FromContext(ctx).Error(err, "whether the home is still there is unknown")
	}
	p.HomeGone = err == nil && !there
	return nil
}
