// Package fairshare decides whose desktop may run next where quotas (VDIQuota) limit what
// people have. One ledger in memory knows what is booked, what runs and who waits; it is
// asked before anything of a session is made.
//
// A booking writes nothing: the pod that follows is its durable record, and the place of
// who waits stands in the session's status. So the ledger is rebuilt from the cache when an
// operator begins to lead. It reads no clock, no cache and no API server.
package fairshare

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Quantum is by how much each GPU slice that a person has or waits for already sets their
// next session back in the queue.
const Quantum = 30 * time.Minute

// ShownPlaces are the first in a queue, who learn of each move.
const ShownPlaces = 10

// Ledger knows what people have of what quotas limit, and who waits. Its zero value is ready
// to use, without quotas.
type Ledger struct {
	mu      sync.Mutex
	quotas  []quota
	entries map[types.NamespacedName]*entry
	used    map[limit]int64
	queue   []*entry // who waits, in order
}

// entry is what the ledger knows of a session.
type entry struct {
	Session

	rules    rules
	accepted bool      // it counts among the sessions
	storage  int64     // of a home that is about to be made or grown, in bytes
	run      Amounts   // what is booked; nil: it does not run
	ends     time.Time // when that is free again; zero: nobody knows
	waits    *wait     // nil: it does not wait
}

// wait is a place in the queue.
type wait struct {
	asks       Amounts
	since, key time.Time
	blocked    []bound // by what; none: it may start, once it asks again
	place      int32
	shown      shown // what its status has
	free       bool  // it was woken to start
}

// shown is a place, and in which quota.
type shown struct {
	quota string
	place int32
}

// Request is what a session asks for.
type Request struct {
	Session

	Accepted bool             // it was accepted before
	Home     int64            // by how much its home is to be made or grown, in bytes
	Homes    map[string]int64 // what the person's homes have, by namespace, in bytes
	Run      Amounts          // what its desktop takes; nil: none is to start
	Kept     bool             // the run was admitted before: the platform starts its desktop again
	Queue    *vdi.QueueStatus // its place, as its status has it
	Now      time.Time
}

// Answer is what becomes of a [Request]. Without Short everything is granted, and booked.
type Answer struct {
	// Quotas is how many select the session.
	Quotas int
	// Short is the limit that is in the way.
	Short *Shortage
	// Queue is the session's place where it waits for that; nil: it is refused.
	Queue *vdi.QueueStatus
}

// Shortage says which limit of which quota leaves no room.
type Shortage struct {
	Quota      string
	Generation int64 // of the quota
	Field      Field
	PerUser    bool
	Limit      int64
	Used       int64
	Asked      int64
	Ahead      bool      // there is room, and others are before
	Room       time.Time // when the next desktop that counts for the limit ends; zero: nobody knows
}

// Ask books what a session asks for, or says why not. It returns who else may go on, or
// waits at another place, because of that.
func (l *Ledger) Ask(r Request) (Answer, []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, woken := l.ask(r)
	return answer, slices.DeleteFunc(woken, func(key types.NamespacedName) bool { return key == r.NamespacedName })
}

func (l *Ledger) ask(r Request) (Answer, []types.NamespacedName) {
	e := l.entryOf(r.Session)
	answer := Answer{Quotas: len(e.rules.selecting)}
	if answer.Short = l.shortOfKept(e, r); answer.Short != nil {
		l.withdraw(e)
		return answer, l.sweep()
	}
	l.change(e, func() { e.accepted = true })
	switch {
	case r.Run == nil:
		l.withdraw(e)
	case e.run != nil:
		// booked already
	case r.Kept:
		l.withdraw(e)
		l.change(e, func() { e.run, e.storage = r.Run, r.Home })
	default:
		l.enqueue(e, r)
		woken := l.sweep()
		if w := e.waits; len(w.blocked) > 0 {
			if i := slices.IndexFunc(w.blocked, func(b bound) bool { return b.reject }); i >= 0 {
				answer.Short = l.shortage(e, w.blocked[i], w.asks)
				l.withdraw(e)
				return answer, append(woken, l.sweep()...)
			}
			answer.Short = l.shortage(e, w.blocked[0], w.asks)
			answer.Queue = e.queueStatus(answer.Short)
			return answer, woken
		}
		l.withdraw(e)
		l.change(e, func() { e.run, e.storage = r.Run, r.Home })
		return answer, append(woken, l.sweep()...)
	}
	return answer, l.sweep()
}

// Seen is what a pass saw of a session at its end.
type Seen struct {
	Session

	Accepted bool      // it is, as far as its own objects show
	Run      Amounts   // what its desktop takes; nil: it has none
	Keeps    bool      // without a desktop it keeps what is booked: the platform starts it again
	Asked    bool      // the pass has asked, and its answer stands
	Ends     time.Time // when the run ends by itself; zero: nobody knows
}

// See corrects the ledger by what a pass saw, and returns who may go on because of that.
// What was booked and did not come to be is given back.
func (l *Ledger) See(s Seen) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entryOf(s.Session)
	l.change(e, func() {
		e.accepted = s.Accepted || (e.accepted && s.Asked)
		e.ends = s.Ends
		switch {
		case s.Run != nil:
			e.run, e.storage = s.Run, 0
		case !s.Keeps:
			e.run, e.storage = nil, 0
		}
	})
	if !s.Asked || e.run != nil {
		l.withdraw(e)
	}
	return l.sweep()
}

// Forget is for a session that is gone.
func (l *Ledger) Forget(key types.NamespacedName) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		return nil
	}
	l.withdraw(e)
	l.count(e, -1)
	delete(l.entries, key)
	return l.sweep()
}

// Wait puts a session into the queue that waited before this operator led.
func (l *Ledger) Wait(s Session, asks Amounts, queue vdi.QueueStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enqueue(l.entryOf(s), Request{Session: s, Run: asks, Queue: &queue})
}

// SetQuotas replaces all quotas, and returns who may go on by the new ones.
func (l *Ledger) SetQuotas(quotas []vdi.VDIQuota) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quotas = make([]quota, len(quotas))
	for i := range quotas {
		l.quotas[i] = quotaOf(&quotas[i])
	}
	sortQuotas(l.quotas)
	l.used = map[limit]int64{}
	for _, e := range l.entries {
		e.rules = rulesOf(l.quotas, e.Session)
		l.count(e, +1)
	}
	l.sort()
	return l.sweep()
}

// entryOf is what is known of a session. Another one of that name is gone.
func (l *Ledger) entryOf(s Session) *entry {
	e := l.entries[s.NamespacedName]
	switch {
	case e != nil && e.UID == s.UID && e.User == s.User && e.Template == s.Template && slices.Equal(e.Groups, s.Groups):
		return e
	case e != nil && e.UID == s.UID:
		l.count(e, -1)
		e.Session, e.rules = s, rulesOf(l.quotas, s)
		l.count(e, +1)
		l.sort()
		return e
	case e != nil:
		l.withdraw(e)
		l.count(e, -1)
	}
	if l.entries == nil {
		l.entries, l.used = map[types.NamespacedName]*entry{}, map[limit]int64{}
	}
	e = &entry{Session: s, rules: rulesOf(l.quotas, s)}
	l.entries[s.NamespacedName] = e
	return e
}

// change changes what a session has.
func (l *Ledger) change(e *entry, by func()) {
	l.count(e, -1)
	by()
	l.count(e, +1)
}

// count adds what a session has to what is used, or takes it off.
func (l *Ledger) count(e *entry, sign int64) {
	for _, b := range e.rules.limits {
		n := e.run[b.field]
		switch b.field {
		case Sessions:
			n = 0
			if e.accepted {
				n = 1
			}
		case Storage:
			n = e.storage
		}
		if n == 0 {
			continue
		}
		if l.used[b.limit] += sign * n; l.used[b.limit] == 0 {
			delete(l.used, b.limit)
		}
	}
}

// shortOfKept is the limit that refuses a session what no waiting helps it to.
func (l *Ledger) shortOfKept(e *entry, r Request) *Shortage {
	for _, b := range e.rules.limits {
		asked, used := int64(0), l.used[b.limit]
		switch {
		case b.field == Sessions && !r.Accepted && !e.accepted:
			asked = 1
		case b.field == Storage && e.storage == 0:
			asked = r.Home
			for namespace, bytes := range r.Homes {
				if among(l.spec(b.quota).Selector.Namespaces, namespace) {
					used += bytes
				}
			}
		}
		if asked > 0 && used+asked > b.most {
			s := l.shortage(e, b, Amounts{b.field: asked})
			s.Used = used
			return s
		}
	}
	return nil
}

func (l *Ledger) spec(name string) *vdi.VDIQuotaSpec { return &l.quota(name).spec }

func (l *Ledger) quota(name string) *quota {
	i, _ := slices.BinarySearchFunc(l.quotas, name, func(q quota, name string) int { return cmp.Compare(q.name, name) })
	return &l.quotas[i]
}

// shortage says what is in the way of an entry.
func (l *Ledger) shortage(e *entry, b bound, asks Amounts) *Shortage {
	s := &Shortage{
		Quota: b.quota, Generation: l.quota(b.quota).generation, Field: b.field, PerUser: b.person != "",
		Limit: b.most, Used: l.used[b.limit], Asked: asks[b.field],
	}
	s.Ahead = s.Used+s.Asked <= s.Limit
	for _, other := range l.entries {
		if other == e || other.run[b.field] == 0 || other.ends.IsZero() || (!s.Room.IsZero() && !other.ends.Before(s.Room)) {
			continue
		}
		if slices.ContainsFunc(other.rules.limits, func(o bound) bool { return o.limit == b.limit }) {
			s.Room = other.ends
		}
	}
	return s
}
