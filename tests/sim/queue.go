package sim

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// queue is a controller's work queue whose workers get something only when a step
// gives it to them. Its rules are workqueue's: an item is there once, nobody works at it
// twice at a time, and what is added while somebody does comes back after that.
type queue struct {
	limiter workqueue.TypedRateLimiter[reconcile.Request]
	give    chan reconcile.Request
	closed  chan struct{}

	mutex      sync.Mutex
	waiting    []reconcile.Request
	processing map[reconcile.Request]bool
	dirty      map[reconcile.Request]bool
	later      map[reconcile.Request]time.Time
	down       bool
}

func newQueue(limiter workqueue.TypedRateLimiter[reconcile.Request]) *queue {
	return &queue{
		limiter: limiter, give: make(chan reconcile.Request), closed: make(chan struct{}),
		processing: map[reconcile.Request]bool{}, dirty: map[reconcile.Request]bool{}, later: map[reconcile.Request]time.Time{},
	}
}

// --- what a step does

// tick moves what is due to those that wait.
func (q *queue) tick(now time.Time) {
	q.mutex.Lock()
	var due []reconcile.Request
	for item, at := range q.later {
		if !at.After(now) {
			due = append(due, item)
			delete(q.later, item)
		}
	}
	q.mutex.Unlock()
	slices.SortFunc(due, byName)
	for _, item := range due {
		q.Add(item)
	}
}

// next is when something is due that nobody has to do before; zero: never.
func (q *queue) next() (at time.Time) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for _, due := range q.later {
		if at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// ready is how many items a worker could take. Their order does not depend on who was
// faster to add them.
func (q *queue) ready() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	slices.SortFunc(q.waiting, byName)
	return len(q.waiting)
}

func byName(a, b reconcile.Request) int { return cmp.Compare(a.String(), b.String()) }

// begin gives one of the ready items to a worker that is idle.
func (q *queue) begin(which int) {
	q.mutex.Lock()
	item := q.waiting[which]
	q.waiting = slices.Delete(q.waiting, which, which+1)
	q.processing[item] = true
	delete(q.dirty, item)
	q.mutex.Unlock()
	q.give <- item
}

// busy is how many workers are at work.
func (q *queue) busy() int {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return len(q.processing)
}

// --- workqueue.TypedRateLimitingInterface

// Add implements the interface.
func (q *queue) Add(item reconcile.Request) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if q.down || q.dirty[item] {
		return
	}
	q.dirty[item] = true
	if !q.processing[item] {
		q.waiting = append(q.waiting, item)
	}
}

// AddAfter implements the interface.
func (q *queue) AddAfter(item reconcile.Request, after time.Duration) {
	if after <= 0 {
		q.Add(item)
		return
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	at := time.Now().Add(after)
	if known, found := q.later[item]; !q.down && (!found || at.Before(known)) {
		q.later[item] = at
	}
}

// AddRateLimited implements the interface.
func (q *queue) AddRateLimited(item reconcile.Request) { q.AddAfter(item, q.limiter.When(item)) }

// Forget implements the interface.
func (q *queue) Forget(item reconcile.Request) { q.limiter.Forget(item) }

// NumRequeues implements the interface.
func (q *queue) NumRequeues(item reconcile.Request) int { return q.limiter.NumRequeues(item) }

// Len implements the interface.
func (q *queue) Len() int { return q.ready() }

// Get implements the interface.
func (q *queue) Get() (item reconcile.Request, shutdown bool) {
	select {
	case item = <-q.give:
		return item, false
	case <-q.closed:
		return item, true
	}
}

// Done implements the interface.
func (q *queue) Done(item reconcile.Request) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	delete(q.processing, item)
	if q.dirty[item] {
		q.waiting = append(q.waiting, item)
	}
}

// ShutDown implements the interface.
func (q *queue) ShutDown() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if !q.down {
		q.down = true
		close(q.closed)
	}
}

// ShutDownWithDrain implements the interface.
func (q *queue) ShutDownWithDrain() { q.ShutDown() }

// ShuttingDown implements the interface.
func (q *queue) ShuttingDown() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.down
}
