package session

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/background"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// ErrNoAgent means that a pod has nobody to ask for its activity.
var ErrNoAgent = errors.New("the pod has no agent")

// ActivitySource knows when a desktop was last used. It is asked when an idle
// deadline falls due, never in between. ErrNoAgent leaves the answer to other
// sources; any other error makes the activity unknown, and unknown is never idle.
type ActivitySource interface {
	LastActivity(ctx context.Context, pod *corev1.Pod) (vdi.ActivityStatus, error)
}

// useStands is how long an agent's answer is good enough for a look that something
// else has caused.
const useStands = 5 * time.Second

// use is what an agent answers.
type use struct {
	activity vdi.ActivityStatus
	err      error
}

// lastActivity is the latest use that any source knows of; nil when it is unknown.
// Not answered: the agent has not said anything yet.
func (a asker) lastActivity(ctx context.Context, p *plan.Pass, wait, stands time.Duration) (latest *vdi.ActivityStatus, answered bool) {
	written := annotatedActivity(p.Session, p.Now)
	if a.activity == nil {
		return written, true
	}
	pod := p.Seen.Pod
	seen, answered := a.uses.Ask(ctx, a.waiting, client.ObjectKeyFromObject(p.Session), p.Seen.Pod.UID, wait, stands, func(ctx context.Context) use {
		activity, err := a.activity.LastActivity(ctx, pod)
		return use{activity, err}
	})
	switch {
	case !answered:
		return nil, false
	case errors.Is(seen.err, ErrNoAgent):
		return written, true
	case seen.err != nil || seen.activity.LastActivityTime == nil:
		logf.FromContext(ctx).V(1).Info("activity is unknown", "error", seen.err)
		return nil, true
	case written != nil && written.LastActivityTime.After(seen.activity.LastActivityTime.Time):
		seen.activity.LastActivityTime = written.LastActivityTime
	}
	return &seen.activity, true
}

// annotatedActivity is what others wrote on the session. A time that has not come
// yet counts as now.
func annotatedActivity(s *vdi.VDISession, now time.Time) *vdi.ActivityStatus {
	at, err := time.Parse(time.RFC3339, s.Annotations[wire.AnnotationLastActivity])
	if err != nil {
		return nil
	}
	return &vdi.ActivityStatus{LastActivityTime: &metav1.Time{Time: plan.Earlier(at, now).Truncate(time.Second)}}
}

// lastUse asks the desktop once more, and waits for the answer; nil when nobody knows.
func (a asker) lastUse(ctx context.Context, p *plan.Pass) *vdi.ActivityStatus {
	latest, _ := a.lastActivity(ctx, p, background.WaitForever, 0)
	return latest
}

// Bounds of the distance between two questions to the proxy, which loads new
// routes within seconds and sends no event about it.
const (
	firstRouteRetry = 250 * time.Millisecond
	lastRouteRetry  = time.Minute
)

// verifyRoute asks once per run whether the URL leads to the desktop.
func (r *Reconciler) verifyRoute(ctx context.Context, p *plan.Pass) {
	if p.Decision.Want != plan.Run || !desktop.Ready(p.Seen.Pod) {
		return
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
}

// askProxy asks whether the URL leads to the desktop.
func (r *Reconciler) askProxy(ctx context.Context, p *plan.Pass) plan.Reach {
	q := platform.RouteQuestion{Host: p.HostName(), Path: p.HealthPath(), SessionUID: string(p.Session.UID)}
	silent, answered := r.routes.Ask(ctx, r.waiting, client.ObjectKeyFromObject(p.Session), p.Seen.Pod.UID, background.FirstWait, routeRetry(p.SilentFor()), func(ctx context.Context) error { return r.Probe(ctx, q) })
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
