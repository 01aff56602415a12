package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/session/desktop"
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
	"github.com/vdi-platform/vdi-platform/operator/session/remember"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Proxies and agents may be silent for seconds, and a worker that waits for them
// works for nobody else.
const (
	// firstWait is how long a pass waits for an answer, the first time. Who is well
	// answers sooner, and the pass need not be made again.
	firstWait = 250 * time.Millisecond
	// dontWait lets the answer wake the session, whenever it comes.
	dontWait time.Duration = 0
	// waitForever is for an answer without which a pass can do nothing, from
	// somebody who has just answered.
	waitForever = time.Hour
	// answerHolds is how long an answer counts that nobody has taken yet: longer
	// than a busy operator takes to come to the session that it woke.
	answerHolds = time.Minute
)

// questions remember, of each session, the one that was asked last.
type questions[A any] struct{ remember.Map[*question[A]] }

// question is asked in the background.
type question[A any] struct {
	pod    types.UID
	asked  time.Time
	done   chan struct{} // closed when there is an answer
	answer A
	since  time.Time // when that was

	mutex sync.Mutex
	left  bool // nobody waits: the answer has to wake the session
	taken bool
}

// ask returns the answer about the pass' pod. It is not there yet when it takes
// longer than the pass may wait: the session is woken when it comes. An answer
// stands for so long for passes that something else has caused. Outside of a
// manager nobody can be woken, and the pass asks and waits.
func (q *questions[A]) ask(ctx context.Context, r *Reconciler, p *plan.Pass, wait, stands time.Duration, question func(context.Context) A) (answer A, answered bool) {
	key := client.ObjectKeyFromObject(p.Session)
	last, found := q.Load(key)
	found = found && last.pod == p.Seen.Pod.UID
	if found && wait == firstWait && last.isSlow() {
		wait = dontWait
	}
	asked := last
	if found && r.answered != nil && last.stands(stands) {
		return last.take(), true
	}
	if !found || !last.counts() {
		asked = q.put(ctx, r, p, question)
		q.Store(key, asked)
	}
	if r.answered == nil {
		wait = waitForever
	}
	if !asked.waitFor(r.mayWait(wait)) {
		return answer, false
	}
	return asked.take(), true
}

// mayWait is how long a worker may wait: at most half of them do so at a time.
func (r *Reconciler) mayWait(wait time.Duration) (most time.Duration, done func()) {
	if wait != firstWait {
		return wait, func() {}
	}
	select {
	case r.patient <- struct{}{}:
		return wait, func() { <-r.patient }
	default:
		return dontWait, func() {}
	}
}

// isSlow reports whether this question was waited for in vain: the next one is not.
func (q *question[A]) isSlow() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.left && (q.since.IsZero() || q.since.Sub(q.asked) > firstWait)
}

// counts reports whether the question is still open, or has an answer that nobody
// has taken.
func (q *question[A]) counts() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.since.IsZero() || (!q.taken && time.Since(q.since) < answerHolds)
}

// stands reports whether there is an answer of that age at most.
func (q *question[A]) stands(age time.Duration) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return !q.since.IsZero() && time.Since(q.since) < age
}

func (q *question[A]) take() A {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.taken = true
	return q.answer
}

// put asks in the background.
func (q *questions[A]) put(ctx context.Context, r *Reconciler, p *plan.Pass, ask func(context.Context) A) *question[A] {
	asked := &question[A]{pod: p.Seen.Pod.UID, asked: time.Now(), done: make(chan struct{})}
	name := client.ObjectKeyFromObject(p.Session)
	go func() {
		answer := ask(ctx)
		asked.mutex.Lock()
		asked.answer, asked.since = answer, time.Now()
		close(asked.done)
		left := asked.left
		asked.mutex.Unlock()
		if left {
			r.wake(ctx, name)
		}
	}()
	return asked
}

// waitFor reports whether the answer is there within that time.
func (q *question[A]) waitFor(wait time.Duration, stopWaiting func()) bool {
	defer stopWaiting()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-q.done:
		return true
	case <-timer.C:
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if !q.since.IsZero() {
		return true
	}
	q.left = true
	return false
}

// wake asks for a pass of a session, unless the operator is stopping.
func (r *Reconciler) wake(ctx context.Context, name types.NamespacedName) {
	session := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	select {
	case r.answered <- event.GenericEvent{Object: session}:
	case <-ctx.Done():
	}
}

// watchAnswers wakes the sessions that were waiting for an answer.
func (r *Reconciler) watchAnswers(sessions watcher, workers int) error {
	r.answered, r.patient = make(chan event.GenericEvent), make(chan struct{}, max(1, workers/2))
	return sessions.Watch(namedSource{source.Channel(r.answered, &handler.EnqueueRequestForObject{}), "answer of a proxy or an agent"})
}

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

// confirmEnd has an end confirmed by the API server's own clock.
func (r *Reconciler) confirmEnd(ctx context.Context, p *plan.Pass) error {
	if !plan.IsEnd(p.Decision) {
		return nil
	}
	confirmed, err := r.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("confirm the end against the API server's time: %w", err)
	}
	p.Now = confirmed // by which the state is described, too
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
