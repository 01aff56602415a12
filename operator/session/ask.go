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
	"github.com/vdi-platform/vdi-platform/operator/session/plan"
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
type questions[A any] struct{ perSession[*question[A]] }

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
	last, found := q.load(key)
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
		q.store(key, asked)
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
