// Package background asks what may take seconds to answer, without keeping a worker for it:
// the session is woken when the answer comes.
package background

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/vdi-platform/vdi-platform/operator/remember"
)

// Proxies and agents may be silent for seconds, and a worker that waits for them
// works for nobody else.
const (
	// FirstWait is how long a pass waits for an answer, the first time. Who is well
	// answers sooner, and the pass need not be made again.
	FirstWait = 250 * time.Millisecond
	// DontWait lets the answer wake the session, whenever it comes.
	DontWait time.Duration = 0
	// WaitForever is for an answer without which a pass can do nothing, from
	// somebody who has just answered.
	WaitForever = time.Hour
	// answerHolds is how long an answer counts that nobody has taken yet: longer
	// than a busy operator takes to come to the session that it woke.
	answerHolds = time.Minute
)

// Questions remember, of each session, the one that was asked last.
type Questions[A any] struct{ remember.Map[*question[A]] }

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

// Ask returns the answer about a session's pod. It is not there yet when it takes
// longer than the pass may wait: the session is woken when it comes. An answer
// stands for so long for passes that something else has caused. Outside of a
// manager nobody can be woken, and the pass asks and waits.
func (q *Questions[A]) Ask(ctx context.Context, w *Workers, session types.NamespacedName, pod types.UID, wait, stands time.Duration, question func(context.Context) A) (answer A, answered bool) {
	last, found := q.Load(session)
	found = found && last.pod == pod
	if found && wait == FirstWait && last.isSlow() {
		wait = DontWait
	}
	asked := last
	if found && w != nil && last.stands(stands) {
		return last.take(), true
	}
	if !found || !last.counts() {
		asked = put(ctx, w, session, pod, question)
		q.Store(session, asked)
	}
	if w == nil {
		wait = WaitForever
	}
	if !asked.waitFor(w.mayWait(wait)) {
		return answer, false
	}
	return asked.take(), true
}

// mayWait is how long a worker may wait: at most half of them do so at a time.
func (w *Workers) mayWait(wait time.Duration) (most time.Duration, done func()) {
	if wait != FirstWait || w == nil {
		return wait, func() {}
	}
	select {
	case w.patient <- struct{}{}:
		return wait, func() { <-w.patient }
	default:
		return DontWait, func() {}
	}
}

// isSlow reports whether this question was waited for in vain: the next one is not.
func (q *question[A]) isSlow() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.left && (q.since.IsZero() || q.since.Sub(q.asked) > FirstWait)
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
func put[A any](ctx context.Context, w *Workers, session types.NamespacedName, pod types.UID, ask func(context.Context) A) *question[A] {
	asked := &question[A]{pod: pod, asked: time.Now(), done: make(chan struct{})}
	go func() {
		answer := ask(ctx)
		asked.mutex.Lock()
		asked.answer, asked.since = answer, time.Now()
		close(asked.done)
		left := asked.left
		asked.mutex.Unlock()
		if left {
			w.wake(ctx, session)
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

// Workers are a controller's workers, of which some wait for answers. Nil outside of a
// manager: nobody can be woken, and whoever asks waits.
type Workers struct {
	answered chan event.GenericEvent
	patient  chan struct{} // those that wait
}

// Of are so many workers.
func Of(workers int) *Workers {
	return &Workers{make(chan event.GenericEvent), make(chan struct{}, max(1, workers/2))}
}

// Answered sends the sessions, by name, for which an answer has come that nobody waited for.
func (w *Workers) Answered() <-chan event.GenericEvent { return w.answered }

// wake asks for a pass of a session, unless the operator is stopping.
func (w *Workers) wake(ctx context.Context, session types.NamespacedName) {
	named := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: session.Namespace, Name: session.Name}}
	select {
	case w.answered <- event.GenericEvent{Object: named}:
	case <-ctx.Done():
	}
}
