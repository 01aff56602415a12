package fairshare

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// enqueue gives a session a place, unless it has one. Its key is written once and never
// changed: who comes later may be set before it for what its person has already, but by a
// bounded time, so within a priority nobody starves.
func (l *Ledger) enqueue(e *entry, r Request) {
	if e.waits != nil {
		e.waits.asks, e.waits.pool = r.Run, r.Pool
		return
	}
	w := &wait{asks: r.Run, pool: r.Pool}
	if q := r.Queue; q != nil && q.Key != nil {
		w.since, w.key, w.shown = q.Since.Time, q.Key.Time, shown{q.Quota, q.Place}
	} else {
		w.since = r.Now.Truncate(time.Second)
		w.key = keyOf(r.Now, l.slicesOf(e), e.rules.weight)
	}
	e.waits = w
	at, _ := slices.BinarySearchFunc(l.queue, e, compare)
	l.queue = slices.Insert(l.queue, at, e)
}

// keyOf is what a person who enters the queue is sorted by: the time, later by [Quantum] for
// each GPU slice that they have or wait for, by their weight.
func keyOf(now time.Time, gpuSlices int64, weight int32) time.Time {
	return now.Add(Quantum * time.Duration(gpuSlices) / time.Duration(max(weight, 1))).Truncate(time.Microsecond)
}

// slicesOf are those that the person has or waits for beside this session.
func (l *Ledger) slicesOf(e *entry) (n int64) {
	for _, other := range l.entries {
		if other == e || other.User != e.User {
			continue
		}
		n += other.run[GPUSlices]
		if other.run == nil && other.waits != nil {
			n += other.waits.asks[GPUSlices]
		}
	}
	return n
}

// compare sorts who waits.
func compare(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(b.rules.priority, a.rules.priority),
		a.waits.key.Compare(b.waits.key),
		a.waits.since.Compare(b.waits.since),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
	)
}

func (l *Ledger) sort() { slices.SortFunc(l.queue, compare) }

// withdraw takes a session out of the queue.
func (l *Ledger) withdraw(e *entry) {
	if e.waits == nil {
		return
	}
	e.waits = nil
	l.queue = slices.DeleteFunc(l.queue, func(other *entry) bool { return other == e })
}

// sweep goes through the queue in order and finds who may start. Whoever is held up keeps
// the room for which it waits from all behind it: else many small ones would let no large one
// start. Who waits for its own person's limit holds up nobody else.
//
// It returns who is to be woken: who may start now, and the first ones who wait at another
// place.
func (l *Ledger) sweep() (wake []types.NamespacedName) {
	for e, short := range l.refused {
		if short != nil && short.Field == Sessions && l.used[short.limit] < short.Limit {
			l.refused[e] = nil // once
			wake = append(wake, e.NamespacedName)
		}
	}
	waiting := map[string]bool{}
	defer func() { l.settlePools(waiting) }()
	if len(l.queue) == 0 {
		return wake
	}
	taken, held, places := map[limit]int64{}, map[limit]bool{}, map[limit]int32{}
	for _, e := range l.queue {
		w := e.waits
		if e.impossible(w.asks) != nil { // a quota was lowered: it is refused once it asks again
			if !w.free {
				w.free = true
				wake = append(wake, e.NamespacedName)
			}
			continue
		}
		if l.block(e, taken, held) {
			waiting[w.pool] = true
		}
		w.place = 0
		if len(w.blocked) == 0 {
			for _, b := range e.rules.limits {
				taken[b.limit] += w.asks[b.field]
			}
			taken[poolLimit(w.pool)]++
			if !w.free {
				w.free = true
				wake = append(wake, e.NamespacedName)
			}
			continue
		}
		w.free = false
		for _, b := range w.blocked {
			if rank(b) == rank(w.blocked[0]) {
				held[b.limit] = true
			}
		}
		first, offers := w.blocked[0], int32(0)
		if first.field == offered { // who is offered, or about to be, is before all others
			offers = int32(l.used[first.limit] + taken[first.limit])
		}
		places[first.limit]++
		w.place = offers + places[first.limit]
		if now := (shown{first.quota, w.place}); w.shown != now && min(w.place, w.shown.place)-offers <= ShownPlaces {
			w.shown = now // once
			wake = append(wake, e.NamespacedName)
		}
	}
	return wake
}

// block finds what a session waits for after those before it have taken and hold what they
// need, its own person's limits first: in words, and as what it waits for. It says whether
// the desktops that no node has room for are among it.
func (l *Ledger) block(e *entry, taken map[limit]int64, held map[limit]bool) (forNodes bool) {
	w := e.waits
	w.blocked = w.blocked[:0]
	for _, b := range e.rules.limits {
		if asks := w.asks[b.field]; asks > 0 && (held[b.limit] || l.used[b.limit]+taken[b.limit]+asks > b.most) {
			w.blocked = append(w.blocked, b)
		}
	}
	if b, full := l.poolBound(w.pool); full && len(w.blocked) == 0 && (held[b.limit] || l.used[b.limit]+taken[b.limit] >= b.most) {
		w.blocked = append(w.blocked, b)
		return true
	}
	slices.SortStableFunc(w.blocked, func(a, b bound) int { return cmp.Compare(rank(a), rank(b)) })
	return false
}

func rank(b bound) int {
	switch {
	case b.field == offered:
		return 2
	case b.person != "":
		return 0
	default:
		return 1
	}
}

// queueStatus is the session's place as its status shows it.
func (e *entry) queueStatus(short *Shortage) *vdi.QueueStatus {
	w := e.waits
	return &vdi.QueueStatus{
		Since: metav1.Time{Time: w.since}, Key: &metav1.MicroTime{Time: w.key}, Place: w.place, Pool: w.pool,
		Quota: short.Quota, QuotaUID: short.UID, QuotaGeneration: short.Generation,
	}
}
