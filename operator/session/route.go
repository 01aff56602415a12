package session

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
)

// Bounds of the distance between two questions to the proxy, which loads new
// routes within seconds and sends no event about it.
const (
	firstRouteRetry = 250 * time.Millisecond
	lastRouteRetry  = time.Minute
)

// verifyRoute asks once per run whether the URL leads to the desktop.
func (r *Reconciler) verifyRoute(ctx context.Context, p *plan.Pass) error {
	if p.Decision.Want != plan.Run || !desktop.Ready(p.Seen.Pod) {
		return nil
	}
	switch {
	case p.RouteRefused():
		p.Reach = plan.ReachRefused
	case r.Probe == nil:
		p.Reach = plan.ReachNotVerified
	case meta.IsStatusConditionTrue(p.Session.Status.Conditions, vdi.ConditionReachable) && p.SamePod():
		p.Reach = plan.ReachAnswered
	default:
		p.Reach = r.askProxy(ctx, p)
	}
	return nil
}

// askProxy asks whether the URL leads to the desktop.
func (r *Reconciler) askProxy(ctx context.Context, p *plan.Pass) plan.Reach {
	q := platform.RouteQuestion{Host: p.HostName(), Path: p.HealthPath(), SessionUID: string(p.Session.UID)}
	silent, answered := r.routes.ask(ctx, r, p, firstWait, routeRetry(p.SilentFor()), func(ctx context.Context) error { return r.Probe(ctx, q) })
	switch {
	case answered && silent == nil:
		return plan.ReachAnswered
	case answered:
		p.LookAgainAfter(routeRetry(p.SilentFor()))
	}
	return plan.ReachSilent
}

// routeRetry grows with the time waited, so that no counter has to be kept.
func routeRetry(waited time.Duration) time.Duration {
	return min(max(waited/2, firstRouteRetry), lastRouteRetry)
}
