package session

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Proxies and agents may be silent for seconds, and a worker that waits for them
// works for nobody else.
const (
	// patience is how long a pass waits for an answer. Who is well answers sooner,
	// and the pass need not be made again.
	patience = 250 * time.Millisecond
	// noPatience lets the answer wake the session, whenever it comes.
	noPatience time.Duration = 0
	// allPatience is for an answer without which a pass can do nothing, from
	// somebody who has just answered.
	allPatience = time.Hour
	// answerHolds is how long an answer counts that nobody has taken yet.
	answerHolds = 5 * time.Second
)

// questions remember, of each session, the one that was asked last.
type questions[A any] struct{ perSession[*question[A]] }

// question is asked in the background.
type question[A any] struct {
	pod    types.UID
	answer A
	done   chan struct{} // closed when there is an answer
	since  time.Time     // when that was

	mutex sync.Mutex
	left  bool // nobody waits: the answer has to wake the session
}

// ask returns the answer about the pass' pod. It is not there yet when it takes
// longer than the pass may wait: the session is woken when it comes. Outside of a
// manager nobody can be woken, and the pass waits.
func (q *questions[A]) ask(ctx context.Context, r *Reconciler, p *pass, wait time.Duration, question func(context.Context) A) (answer A, answered bool) {
	key := client.ObjectKeyFromObject(p.session)
	asked, found := q.load(key)
	switch {
	case !found || !asked.isAbout(p):
		asked = q.put(ctx, r, p, question)
		q.store(key, asked)
	case wait == patience:
		wait = noPatience // it was waited for when it was asked
	}
	if r.answered == nil {
		wait = allPatience
	}
	if !asked.waitFor(wait) {
		return answer, false
	}
	q.delete(key)
	return asked.answer, true
}

// isAbout tells whether an answer, if there is one, is about the pod as it is.
func (q *question[A]) isAbout(p *pass) bool {
	select {
	case <-q.done:
		return q.pod == p.seen.pod.UID && time.Since(q.since) < answerHolds
	default:
		return q.pod == p.seen.pod.UID
	}
}

// put asks in the background.
func (q *questions[A]) put(ctx context.Context, r *Reconciler, p *pass, ask func(context.Context) A) *question[A] {
	asked := &question[A]{pod: p.seen.pod.UID, done: make(chan struct{})}
	name := types.NamespacedName{Namespace: p.session.Namespace, Name: p.session.Name}
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

// waitFor tells whether the answer is there within that time.
func (q *question[A]) waitFor(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-q.done:
		return true
	case <-timer.C:
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	select {
	case <-q.done:
		return true
	default:
		q.left = true
		return false
	}
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
func (r *Reconciler) watchAnswers(sessions watcher) error {
	r.answered = make(chan event.GenericEvent)
	return sessions.Watch(namedSource{source.Channel(r.answered, &handler.EnqueueRequestForObject{}), "answer of a proxy or an agent"})
}
