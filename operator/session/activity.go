package session

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
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

// readActivity asks for the use of the desktop when the decision depends on it.
func (r *Reconciler) readActivity(ctx context.Context, p *plan.Pass) error {
	if !p.DependsOnActivity() {
		return nil
	}
	p.RequeueAfter = 0
	activity, answered := r.lastActivity(ctx, p, firstWait, useStands)
	if p.Asking = !answered; p.Asking {
		p.Decision = plan.DecideByPerson(p.Session) // the answer is on its way
		return nil
	}
	p.Activity = unlessSame(p.Activity, activity)
	p.Decide(p.Now)
	return nil
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
func (r *Reconciler) lastActivity(ctx context.Context, p *plan.Pass, wait, stands time.Duration) (latest *vdi.ActivityStatus, answered bool) {
	written := annotatedActivity(p.Session, p.Now)
	if r.Activity == nil {
		return written, true
	}
	pod := p.Seen.Pod
	seen, answered := r.uses.ask(ctx, r, p, wait, stands, func(ctx context.Context) use {
		activity, err := r.Activity.LastActivity(ctx, pod)
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

// sameUse is by how much the times of one and the same use may differ: each is written
// in whole seconds, by clocks that are compared in whole seconds.
const sameUse = 2 * time.Second

// unlessSame is the latter use, or the former if that is the same.
func unlessSame(former, latter *vdi.ActivityStatus) *vdi.ActivityStatus {
	if former == nil || former.LastActivityTime == nil || latter == nil || latter.LastActivityTime == nil {
		return latter
	}
	if latter.LastActivityTime.Sub(former.LastActivityTime.Time).Abs() <= sameUse {
		latter.LastActivityTime = former.LastActivityTime
	}
	return latter
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

// usedMeanwhile reports whether the desktop was used, or may have been, since an
// idle stop was decided. Activity that arrives before the pod's DELETE wins.
func (r *Reconciler) usedMeanwhile(ctx context.Context, p *plan.Pass) bool {
	decided := p.Activity
	latest, _ := r.lastActivity(ctx, p, waitForever, 0)
	p.Activity = latest // the next decision builds on it
	if latest == nil || decided == nil || decided.LastActivityTime == nil {
		return true
	}
	return latest.LastActivityTime.After(decided.LastActivityTime.Add(sameUse))
}
