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
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
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
	window  Window
	quotas  []quota
	entries map[types.NamespacedName]*entry
	used    map[limit]int64
	queue   []*entry             // who waits, in order
	pools   map[string]*pool     // where somebody finds no room
	refused map[*entry]*Shortage // for what, where an end of others helps
	hours   map[string]*hours    // by person
	lost    []Lost               // what sessions have left that are gone
	latest  time.Time            // of all that was asked or seen
	read    uint64               // when the quotas were read
}

// entry is what the ledger knows of a session.
type entry struct {
	Session

	rules    rules
	accepted bool      // it counts among the sessions
	storage  int64     // of a home that is about to be made or grown, in bytes
	run      Amounts   // what is booked; nil: it does not run
	assumed  bool      // a pod was made for that which the cache has not shown yet
	ends     time.Time // when that is free again; zero: nobody knows
	waits    *wait     // nil: it does not wait
	least    int64     // GPU-seconds that it was let in for

	runs accounting.Run // the pod that holds something; its zero value: none does

	spot
}

// spot is where a pod waits at the scheduler.
type spot struct {
	pool      string
	placement Placement
	passed    bool // it finds no room for so long that others are offered, too
}

// wait is a place in the queue.
type wait struct {
	asks       Amounts
	pool       string
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
	NewHome  bool             // it is to be made
	Homes    map[string]int64 // what the person's homes have, by namespace, in bytes
	Run      Amounts          // what its desktop takes; nil: none is to start
	Pool     string           // where it can run, with what; "": it takes nobody's room
	Rate     accounting.Rate  // at which it uses GPU-hours
	Warn     time.Duration    // for how long the end of those is announced
	Queue    *vdi.QueueStatus // its place, as its status has it
	// Refused is the quota that has refused this very spec, as its status has it.
	Refused *vdi.QueueStatus
	Now     time.Time
}

// Answer is what becomes of a [Request]. Without Short everything is granted, and booked.
type Answer struct {
	// Short is the limit that is in the way.
	Short *Shortage
	// Queue is the session's place where it waits for that, without a key where it was
	// refused and stays so until somebody asks again; nil: it is refused for now.
	Queue *vdi.QueueStatus
	// Stands: it was refused before, and stays so.
	Stands bool
	// Small is the limit for which a home that exists does not grow.
	Small *Shortage
}

// Shortage says which limit of which quota leaves no room.
type Shortage struct {
	limit limit

	Quota      string
	UID        types.UID // of the quota
	Generation int64     // of the quota
	Field      Field
	PerUser    bool
	Limit      int64
	Used       int64
	Asked      int64
	Never      bool      // it asks for more than there ever is
	Stands     bool      // it stays refused until somebody asks again
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

func (l *Ledger) ask(r Request) (answer Answer, woken []types.NamespacedName) {
	l.at(r.Now)
	e := l.entryOf(r.Session)
	delete(l.refused, e)
	if answer.Short, answer.Small = l.shortOfKept(e, r); answer.Short != nil {
		l.withdraw(e)
		l.refuse(e, answer.Short)
		return answer, l.sweep()
	}
	if answer.Small != nil {
		r.Home = 0
	}
	switch {
	case r.Run == nil:
		l.withdraw(e)
		l.change(e, func() { e.accepted, e.storage = true, r.Home })
		return answer, l.sweep()
	case l.stands(e, r.Refused):
		l.withdraw(e)
		l.refuse(e, nil)
		return Answer{Queue: r.Refused, Stands: true, Small: answer.Small}, l.sweep()
	}
	if short := l.shortOfHours(e, r); short != nil {
		return l.refuseHours(e, short, r), l.sweep()
	}
	if e.covers(r.Run) { // also above a limit that was lowered: the platform starts it again
		return answer, l.book(e, r)
	}
	l.change(e, func() { e.run = nil })
	if b := e.impossible(r.Run); b != nil {
		l.withdraw(e)
		l.refuse(e, nil)
		answer.Short = l.shortage(e, *b, r)
		return answer, l.sweep()
	}
	if _, full := l.poolBound(r.Pool); !full && len(l.queue) == 0 && l.hasRoom(e, r.Run) {
		return answer, l.book(e, r)
	}
	l.enqueue(e, r)
	woken = l.sweep()
	w := e.waits
	if len(w.blocked) == 0 {
		return answer, append(woken, l.book(e, r)...)
	}
	if i := slices.IndexFunc(w.blocked, func(b bound) bool { return b.reject }); i >= 0 {
		answer.Short = l.shortage(e, w.blocked[i], r)
		answer.Queue = &vdi.QueueStatus{Since: metav1.Time{Time: w.since}, Quota: answer.Short.Quota, QuotaUID: answer.Short.UID, QuotaGeneration: answer.Short.Generation}
		l.withdraw(e)
		l.refuse(e, nil)
		return answer, append(woken, l.sweep()...)
	}
	l.change(e, func() { e.accepted = true })
	answer.Short = l.shortage(e, w.blocked[0], r)
	answer.Queue = e.queueStatus(answer.Short)
	return answer, woken
}

// book gives a session what it asks for.
func (l *Ledger) book(e *entry, r Request) []types.NamespacedName {
	l.withdraw(e)
	again := e.run != nil
	l.change(e, func() { e.accepted, e.run, e.storage, e.least = true, r.Run, r.Home, r.Rate.Use(r.Warn) })
	if !again {
		l.place(e, r.Pool, Asked, r.Now, r.Now)
	}
	return l.sweep()
}

// hasRoom reports whether nothing is in the way of who is before all others.
func (l *Ledger) hasRoom(e *entry, asks Amounts) bool {
	return !slices.ContainsFunc(e.rules.limits, func(b bound) bool { return asks[b.field] > 0 && l.used[b.limit]+asks[b.field] > b.most })
}

// covers reports whether what is booked does for what is asked, as far as it is limited. More
// than that is asked for anew: else somebody could start small, and grow past everybody who
// waits.
func (e *entry) covers(asks Amounts) bool {
	return e.run != nil && !slices.ContainsFunc(e.rules.limits, func(b bound) bool { return asks[b.field] > e.run[b.field] })
}

// impossible is a limit that never leaves so much room; nil: none.
func (e *entry) impossible(asks Amounts) *bound {
	i := slices.IndexFunc(e.rules.limits, func(b bound) bool { return asks[b.field] > b.most })
	if i < 0 {
		return nil
	}
	return &e.rules.limits[i]
}

// refuse remembers who was refused, so that they are woken by other quotas, and those by
// whom somebody else's end makes room. Who is refused by a start does not start by itself.
func (l *Ledger) refuse(e *entry, short *Shortage) {
	if l.refused == nil {
		l.refused = map[*entry]*Shortage{}
	}
	l.refused[e] = short
}

// stands reports whether a start that was refused stays so: nothing has changed since.
func (l *Ledger) stands(e *entry, refused *vdi.QueueStatus) bool {
	return refused != nil && slices.ContainsFunc(e.rules.selecting, func(q *quota) bool {
		return q.name == refused.Quota && q.uid == refused.QuotaUID && q.generation == refused.QuotaGeneration
	})
}

// Seen is what a pass saw of a session at its end.
type Seen struct {
	Session

	Accepted bool      // it is, as far as its own objects show
	Run      Amounts   // what its desktop takes; nil: it has none
	Made     bool      // that was made just now, and is not in the cache
	Pool     string    // see Request
	Placed   Placement // what the scheduler says
	Since    time.Time // since when
	Now      time.Time
	Gone     bool           // the API server itself has none
	Keeps    bool           // without a desktop it keeps what is booked: the platform starts it again
	Asked    bool           // the pass has asked, and its answer stands
	Home     bool           // its home is there, or none is to be made
	Ends     time.Time      // when the run ends by itself; zero: nobody knows
	Counted  accounting.Run // its pod that holds something; its zero value: none does
	Over     accounting.Run // a pod that holds nothing any more, not counted before; its zero value: there is none
	Written  bool           // it was written down just now
}

// Assumes reports whether a session is taken to have a pod that was made and that the cache
// has not shown yet.
func (l *Ledger) Assumes(key types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	return e != nil && e.assumed
}

// See corrects the ledger by what a pass saw, and returns who may go on because of that.
// What was booked and did not come to be is given back.
func (l *Ledger) See(s Seen) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(s.Now)
	e := l.entryOf(s.Session)
	had, accepted, storage, waits := e.run, e.accepted, e.storage, e.waits
	l.change(e, func() {
		e.accepted = s.Accepted || (e.accepted && s.Asked)
		e.ends = s.Ends
		switch {
		case s.Run != nil:
			e.run, e.assumed = s.Run, s.Made
		case !s.Keeps && (!e.assumed || s.Gone):
			e.run, e.assumed = nil, false
		}
		if s.Home || !s.Asked {
			e.storage = 0
		}
	})
	news := false
	switch {
	case s.Run != nil:
		news = l.place(e, s.Pool, s.Placed, s.Since, s.Now)
	case !e.assumed: // nothing of it is at the scheduler, whatever is booked for it
		news = l.place(e, "", Placed, s.Since, s.Now)
	}
	if !s.Asked || e.run != nil {
		l.withdraw(e)
	}
	if !s.Asked {
		delete(l.refused, e)
	}
	var woken []types.NamespacedName
	if l.setRunning(e, s) {
		woken = l.dependents(e.User, e)
	}
	if !news && e.accepted == accepted && e.storage == storage && e.waits == waits && maps.Equal(e.run, had) {
		return woken // nobody else may go on because of that
	}
	return append(woken, l.sweep()...)
}

// at notes what time it is.
func (l *Ledger) at(now time.Time) {
	if l.latest.Before(now) {
		l.latest = now
	}
}

// Forget is for a session that is gone. It returns who may go on.
func (l *Ledger) Forget(key types.NamespacedName, now time.Time) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		return nil
	}
	l.at(now)
	woken := l.dependents(e.User, e)
	l.drop(e)
	delete(l.entries, key)
	return append(woken, l.sweep()...)
}

// Wait puts a session into the queue that waited before this operator led.
func (l *Ledger) Wait(s Session, asks Amounts, queue vdi.QueueStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if queue.Quota == "" && queue.Pool != "" {
		l.poolOf(queue.Pool).full = true
	}
	l.enqueue(l.entryOf(s), Request{Session: s, Run: asks, Pool: queue.Pool, Queue: &queue})
}

// SetQuotas replaces all quotas, and returns who may go on by the new ones. Those of a read
// that began before the last one that came are no news.
func (l *Ledger) SetQuotas(quotas []vdi.VDIQuota, read uint64) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	if read < l.read {
		return nil
	}
	l.read = read
	l.quotas = make([]quota, len(quotas))
	for i := range quotas {
		l.quotas[i] = quotaOf(&quotas[i])
	}
	sortQuotas(l.quotas)
	l.used = map[limit]int64{}
	for _, p := range l.pools {
		p.stuck, p.passed = 0, 0
	}
	for _, e := range l.entries {
		e.rules = rulesOf(l.quotas, e.Session)
		l.count(e, +1)
		l.countPool(e, +1)
	}
	l.sort()
	woken := l.sweep()
	for e := range l.refused {
		woken = append(woken, e.NamespacedName)
	}
	for key, e := range l.entries {
		if len(e.runs.Quotas) > 0 { // its end may be another
			woken = append(woken, key)
		}
	}
	return woken
}

// Use is what the sessions have that a quota selects.
type Use struct {
	Sessions, Running, GPUSlices, Waiting, People int32
}

// Use is what is used of the quota of that name.
func (l *Ledger) Use(name string) (use Use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	people := map[string]bool{}
	for _, e := range l.entries {
		if !slices.ContainsFunc(e.rules.selecting, func(q *quota) bool { return q.name == name }) {
			continue
		}
		if e.accepted {
			use.Sessions++
		}
		use.Running += int32(e.run[Running])
		use.GPUSlices += int32(e.run[GPUSlices])
		if w := e.waits; w != nil && !(len(w.blocked) > 0 && w.blocked[0].field == offered) {
			use.Waiting++
		}
		if e.accepted || e.run != nil || e.waits != nil {
			people[e.User] = true
		}
	}
	use.People = int32(len(people))
	return use
}

// Limits reports whether a quota is for the session, and whether that or somebody who finds
// no room makes it ask.
func (l *Ledger) Limits(s Session) (byQuota, asks bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byQuota = slices.ContainsFunc(l.quotas, func(q quota) bool { return q.selects(s) })
	return byQuota, byQuota || len(l.pools) > 0
}

// LimitsStorage reports whether the homes of the session's person are limited.
func (l *Ledger) LimitsStorage(s Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(rulesOf(l.quotas, s).limits, func(b bound) bool { return b.field == Storage })
}

// entryOf is what is known of a session. Another one of that name is gone.
func (l *Ledger) entryOf(s Session) *entry {
	e := l.entries[s.NamespacedName]
	switch {
	case e != nil && e.UID == s.UID && e.User == s.User && e.Template == s.Template && slices.Equal(e.Groups, s.Groups):
		return e
	case e != nil && e.UID == s.UID:
		l.count(e, -1)
		delete(l.hoursOf(e.User).entries, e)
		l.leaveHours(e.User)
		e.Session, e.rules = s, rulesOf(l.quotas, s)
		l.hoursOf(e.User).entries[e] = true
		l.count(e, +1)
		l.sort()
		return e
	case e != nil:
		l.drop(e)
	}
	if l.entries == nil {
		l.entries, l.used = map[types.NamespacedName]*entry{}, map[limit]int64{}
	}
	e = &entry{Session: s, rules: rulesOf(l.quotas, s)}
	l.entries[s.NamespacedName] = e
	l.hoursOf(e.User).entries[e] = true
	return e
}

// drop ends all that an entry has.
func (l *Ledger) drop(e *entry) {
	l.withdraw(e)
	l.count(e, -1)
	l.countPool(e, -1)
	delete(l.refused, e)
	l.lose(e)
	delete(l.hoursOf(e.User).entries, e)
	l.leaveHours(e.User)
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

// shortOfKept is the limit that refuses a session what no waiting helps it to, and the one
// for which a home that exists stays as it is.
func (l *Ledger) shortOfKept(e *entry, r Request) (refused, small *Shortage) {
	for _, b := range e.rules.limits {
		short := l.shortageOf(b, 0)
		switch {
		case b.field == Sessions && !r.Accepted && !e.accepted:
			short.Asked = 1
		case b.field == Storage && r.Home > 0:
			short.Asked, short.Used = r.Home, short.Used-e.storage
			for namespace, bytes := range r.Homes {
				if among(l.quota(b.quota).spec.Selector.Namespaces, namespace) {
					short.Used += bytes
				}
			}
		}
		switch {
		case short.Asked == 0 || short.fits():
		case b.field == Storage && !r.NewHome:
			small = short
		default:
			return short, nil
		}
	}
	return nil, small
}

func (l *Ledger) quota(name string) *quota {
	i, _ := slices.BinarySearchFunc(l.quotas, name, func(q quota, name string) int { return cmp.Compare(q.name, name) })
	return &l.quotas[i]
}

// shortage says what is in the way of an entry.
func (l *Ledger) shortage(e *entry, b bound, r Request) *Shortage {
	s := l.shortageOf(b, r.Run[b.field])
	s.Ahead, s.Never, s.Room = s.fits(), s.Asked > s.Limit, l.nextEnd(e, b, r.Now)
	return s
}

// shortageOf compares what is asked for with a limit.
func (l *Ledger) shortageOf(b bound, asked int64) *Shortage {
	s := &Shortage{limit: b.limit, Field: b.field, Limit: b.most, Used: l.used[b.limit], Asked: asked}
	if b.field != offered {
		q := l.quota(b.quota)
		s.Quota, s.UID, s.Generation, s.PerUser = q.name, q.uid, q.generation, b.person != ""
	}
	return s
}

func (s *Shortage) fits() bool { return s.Used+s.Asked <= s.Limit }

// nextEnd is when the next desktop ends that counts for the limit; zero: nobody knows.
func (l *Ledger) nextEnd(e *entry, b bound, now time.Time) (first time.Time) {
	for _, other := range l.entries {
		if other == e || other.run[b.field] == 0 || !other.ends.After(now) || (!first.IsZero() && !other.ends.Before(first)) {
			continue
		}
		if slices.ContainsFunc(other.rules.limits, func(o bound) bool { return o.limit == b.limit }) {
			first = other.ends
		}
	}
	return first
}
