package session

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// reach is what is known about the way through the proxy.
type reach string

const (
	reachUnknown     reach = ""            // nothing to ask about yet
	reachAnswered    reach = "Answered"    // the proxy led to the desktop
	reachSilent      reach = "Silent"      // it does not yet
	reachRefused     reach = "Refused"     // the cluster does not let the route be made
	reachNotVerified reach = "NotVerified" // nobody asks: sessions.verifyRoute is off
)

// Bounds of the distance between two questions to the proxy, which loads new
// routes within seconds and sends no event about it.
const (
	firstRouteRetry = 250 * time.Millisecond
	lastRouteRetry  = time.Minute
)

// verifyRoute asks once per run whether the URL leads to the desktop.
func (r *Reconciler) verifyRoute(ctx context.Context, p *pass) error {
	if p.decision.want != wantRun || !podReady(p.seen.pod) {
		return nil
	}
	switch {
	case p.routeRefused():
		p.reachable = reachRefused
	case r.Probe == nil:
		p.reachable = reachNotVerified
	case meta.IsStatusConditionTrue(p.session.Status.Conditions, vdi.ConditionReachable) && p.samePod():
		p.reachable = reachAnswered
	default:
		p.reachable = r.askProxy(ctx, p)
	}
	return nil
}

// askProxy asks whether the URL leads to the desktop.
func (r *Reconciler) askProxy(ctx context.Context, p *pass) reach {
	q := platform.RouteQuestion{Host: p.hostName(), Path: p.healthPath(), SessionUID: string(p.session.UID)}
	silent, answered := r.routes.ask(ctx, r, p, patience, routeRetry(p.silentFor()), func(ctx context.Context) error { return r.Probe(ctx, q) })
	switch {
	case answered && silent == nil:
		return reachAnswered
	case answered:
		p.look(routeRetry(p.silentFor()))
	}
	return reachSilent
}

// routeRefused tells whether a part of the way in is missing because it was refused.
func (p *pass) routeRefused() bool {
	return p.refusal != nil && p.refusal.condition == vdi.ConditionReachable && slices.ContainsFunc(p.desired, func(o *unstructured.Unstructured) bool {
		return isProxyKind(o.GetKind()) && p.seen.others[keyOf(o)] == nil
	})
}

// silentFor is how long it is known that the proxy does not lead to this pod.
func (p *pass) silentFor() time.Duration {
	c := meta.FindStatusCondition(p.session.Status.Conditions, vdi.ConditionReachable)
	if c == nil || c.Reason != vdi.ReasonRouteNotAnswering || !p.samePod() {
		return 0
	}
	return p.now.Sub(c.LastTransitionTime.Time)
}

// routeRetry grows with the time waited, so that no counter has to be kept.
func routeRetry(waited time.Duration) time.Duration {
	return min(max(waited/2, firstRouteRetry), lastRouteRetry)
}

// samePod tells whether the condition in the status speaks of the pod that runs now.
func (p *pass) samePod() bool {
	t := p.session.Status.Timings
	return t != nil && t.Queued != nil && t.Queued.Time.Equal(p.seen.pod.CreationTimestamp.Time)
}

// healthPath answers without credentials where the streamer has such a path.
func (p *pass) healthPath() string {
	if p.template == nil {
		return "/"
	}
	spec := p.template.Spec
	return cmp.Or(spec.HealthPath, platform.FactsOf(spec.Streamer).HealthPath, "/")
}

// hostName is the host decided in this pass, else the one the session has.
func (p *pass) hostName() string {
	if p.host != "" {
		return p.host
	}
	return p.session.Status.Host
}
