// Package fairqueue orders a controller's work so that one tenant's waits for itself:
// namespaces take turns, and in each the people do. Whoever asks for ten thousand
// desktops at once delays everybody else's by one piece of work, not by ten thousand.
//
// It decides about nothing but the order. What a piece of work is, how often it is tried
// again and when, is client-go's and the controller's business.
package fairqueue

import (
	"sync"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// New makes a controller's queue, for controller.Options.NewQueue. personOf is the person
// whose object a request is about, "" where nobody knows; it is called for each request
// that begins to wait, and must not block.
func New(name string, limiter workqueue.TypedRateLimiter[reconcile.Request], personOf func(reconcile.Request) string) priorityqueue.PriorityQueue[reconcile.Request] {
	return newQueue(name, limiter, personOf, clock.RealClock{})
}

func newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request], personOf func(reconcile.Request) string, clock clock.WithTicker) *queue {
	o := newOrder(personOf)
	ready := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{Name: name, Queue: o})
	later := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[reconcile.Request]{Name: name, Clock: clock, Queue: raising{ready, o}})
	limited := workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: name, DelayingQueue: later})
	return &queue{TypedRateLimitingInterface: limited, order: o, ready: ready}
}

// raising is where all work comes in that is not to wait for what was there at the start:
// at once, or when it is due. client-go adds due work by itself.
type raising struct {
	workqueue.TypedInterface[reconcile.Request]
	order *order
}

// Add raises what waits already, too: client-go only touches it.
func (r raising) Add(item reconcile.Request) {
	r.order.raise(item)
	r.TypedInterface.Add(item)
}

// queue knows two priorities: below 0 is what controller-runtime gives to what is there
// when an operator starts (handler.LowPriority), and waits for everything else.
type queue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	order *order
	ready workqueue.TypedInterface[reconcile.Request] // adds without raising
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *queue) AddWithOpts(o priorityqueue.AddOpts, items ...reconcile.Request) {
	for _, item := range items {
		switch low := o.Priority != nil && *o.Priority < 0; {
		case o.RateLimited:
			q.AddRateLimited(item)
		case o.After > 0:
			q.AddAfter(item, o.After)
		case low:
			q.order.lower(item)
			q.ready.Add(item)
		default:
			q.Add(item)
		}
	}
}

// GetWithPriority implements priorityqueue.PriorityQueue. Whatever was looked at once is
// no longer what was there at the start: it comes back with the usual priority.
func (q *queue) GetWithPriority() (item reconcile.Request, priority int, shutdown bool) {
	item, shutdown = q.Get()
	return item, 0, shutdown
}

// order is the storage of a work queue, which has seen to it that an item is in it once.
type order struct {
	personOf func(reconcile.Request) string

	mutex sync.Mutex
	lines [2]*line                     // first the urgent one
	in    map[reconcile.Request]urgent // all that wait
	low   map[reconcile.Request]bool   // those that are about to wait, and may
	now   map[reconcile.Request]bool   // those that are about to wait, and may not
}

// urgent says in which of the lines an item waits.
type urgent bool

func newOrder(personOf func(reconcile.Request) string) *order {
	return &order{
		personOf: personOf, lines: [2]*line{{}, {}},
		in: map[reconcile.Request]urgent{}, low: map[reconcile.Request]bool{}, now: map[reconcile.Request]bool{},
	}
}

func (o *order) line(u urgent) *line {
	if u {
		return o.lines[0]
	}
	return o.lines[1]
}

// lower marks what may wait for everything else.
func (o *order) lower(item reconcile.Request) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if _, waits := o.in[item]; !waits && !o.now[item] {
		o.low[item] = true
	}
}

// raise makes urgent what waits and is not, and what is about to wait. Its former place is
// passed over.
func (o *order) raise(item reconcile.Request) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	delete(o.low, item)
	switch u, waits := o.in[item]; {
	case !waits: // it is new, or somebody works at it and it waits as soon as they are done
		o.now[item] = true
	case !bool(u):
		o.put(item, true)
	}
}

func (o *order) put(item reconcile.Request, u urgent) {
	o.in[item] = u
	o.line(u).push(item, item.Namespace, o.personOf(item))
}

// Touch implements workqueue.Queue. What waits keeps its place.
func (o *order) Touch(reconcile.Request) {}

// Push implements workqueue.Queue.
func (o *order) Push(item reconcile.Request) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	low := o.low[item]
	delete(o.low, item)
	delete(o.now, item)
	o.put(item, urgent(!low))
}

// Len implements workqueue.Queue.
func (o *order) Len() int {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return len(o.in)
}

// Pop implements workqueue.Queue. It is called only while something waits.
func (o *order) Pop() reconcile.Request {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for {
		u := urgent(o.lines[0].size > 0)
		item := o.line(u).pop()
		if in, waits := o.in[item]; waits && in == u {
			delete(o.in, item)
			return item
		}
	}
}

// line is a queue whose parts take turns, or at its ends one of items.
type line struct {
	size  int
	items []reconcile.Request
	turns []string // parts that hold something, the next one first
	parts map[string]*line
}

// push puts an item behind those of its part, and of that part's part.
func (l *line) push(item reconcile.Request, path ...string) {
	l.size++
	if len(path) == 0 {
		l.items = append(l.items, item)
		return
	}
	part := l.parts[path[0]]
	if part == nil {
		part = &line{}
		if l.parts == nil {
			l.parts = map[string]*line{}
		}
		l.parts[path[0]] = part
		l.turns = append(l.turns, path[0])
	}
	part.push(item, path[1:]...)
}

func (l *line) pop() (item reconcile.Request) {
	l.size--
	if len(l.turns) == 0 {
		item, l.items = l.items[0], l.items[1:]
		return item
	}
	next := l.turns[0]
	l.turns = l.turns[1:]
	part := l.parts[next]
	item = part.pop()
	if part.size > 0 {
		l.turns = append(l.turns, next)
	} else {
		delete(l.parts, next)
	}
	return item
}
