package fairshare

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Placement is what the scheduler says of a session's pod.
type Placement string

// Words of Placement.
const (
	// Placed: it has a node, or is kept from one by something else than a lack of room.
	Placed Placement = ""
	// Asked: the scheduler has not said anything yet.
	Asked Placement = "Asked"
	// Full: no node has room for it.
	Full Placement = "Full"
)

// Window bounds what is offered to the scheduler where it finds no room. It alone knows what
// fits; but it takes whom it likes of those that it is offered, so that the order is ours only
// as far as it is offered few.
type Window struct {
	// Pods of a pool that may wait at the scheduler at a time; 0 means 1.
	Pods int64
	// Patience is how long one may find no room before the next is offered, too; 0: for ever.
	// It doubles with each that is passed over and still waits: a cluster that is full for
	// hours is not offered all who wait, and none that never fits keeps others out for ever.
	Patience time.Duration
}

// Silence is how long the scheduler may say nothing of a pod before the next is offered, too:
// it says nothing while it binds one, which takes as long as its volume takes to be made.
const Silence = 2 * time.Second

// offered is the limit of those that are offered to the scheduler of a pool.
const offered Field = "offered"

// poolLimit is that limit.
func poolLimit(pool string) limit { return limit{field: offered, person: pool} }

// pool is those who can take each other's room: what they ask for, and where they may run,
// are the same.
type pool struct {
	stuck  int  // pods that find no room, without those passed over
	passed int  // those
	full   bool // some found none, and those who came meanwhile are not all let in yet
}

// SetWindow bounds what is offered to the scheduler.
func (l *Ledger) SetWindow(w Window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = w
}

// place notes what the scheduler says of an entry's pod. One that finds no room for long is
// passed over: it keeps what is booked, and holds up nobody. It reports whether that is news.
func (l *Ledger) place(e *entry, pool string, p Placement, since, now time.Time) bool {
	if e.run == nil {
		p = Placed
	}
	before := e.spot
	l.countPool(e, -1)
	e.spot = spot{pool: pool, placement: p}
	left, ends := l.patience(e, since, now)
	e.passed = ends && left <= 0 || before.passed && before.pool == pool && before.placement == p
	l.countPool(e, +1)
	return e.spot != before
}

// patience is for how long an entry's pod still holds up others; false: for ever, or it holds
// up nobody.
func (l *Ledger) patience(e *entry, since, now time.Time) (time.Duration, bool) {
	switch {
	case e.placement == Asked:
		return Silence - now.Sub(since), true
	case e.placement != Full || l.window.Patience <= 0:
		return 0, false
	}
	patience := l.window.Patience
	if p := l.pools[e.pool]; p != nil {
		patience <<= min(p.passed, maxDoubled)
	}
	return patience - now.Sub(since), true
}

// maxDoubled keeps durations in their range: two weeks from five minutes.
const maxDoubled = 12

// countPool adds an entry to those of its pool that have no node, or takes it off.
func (l *Ledger) countPool(e *entry, sign int) {
	if e.pool == "" || e.placement == Placed {
		return
	}
	if !e.passed {
		at := poolLimit(e.pool)
		if l.used[at] += int64(sign); l.used[at] == 0 {
			delete(l.used, at)
		}
	}
	if e.placement != Full {
		return
	}
	p := l.poolOf(e.pool)
	if e.passed {
		p.passed += sign
		return
	}
	p.stuck += sign
	p.full = p.full || p.stuck > 0
}

func (l *Ledger) poolOf(name string) *pool {
	if l.pools == nil {
		l.pools = map[string]*pool{}
	}
	if l.pools[name] == nil {
		l.pools[name] = &pool{}
	}
	return l.pools[name]
}

// poolBound is what a pool lets a session have; false: anything, since nobody finds no room there.
func (l *Ledger) poolBound(name string) (bound, bool) {
	if p := l.pools[name]; p == nil || !p.full {
		return bound{}, false
	}
	return bound{limit: poolLimit(name), most: max(l.window.Pods, 1)}, true
}

// settlePools forgets that pools were full where nobody waits for them any more.
func (l *Ledger) settlePools(waiting map[string]bool) {
	for name, p := range l.pools {
		if p.full = p.full && (p.stuck > 0 || waiting[name]); !p.full && p.passed == 0 {
			delete(l.pools, name)
		}
	}
}

// Stuck is how long until a session's pod is passed over of which the scheduler says that it
// finds no room, or nothing; 0: never, or nobody waits for that.
func (l *Ledger) Stuck(key types.NamespacedName, since, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil || e.passed || l.pools[e.pool] == nil || !l.pools[e.pool].full {
		return 0
	}
	left, ends := l.patience(e, since, now)
	if !ends {
		return 0
	}
	return max(left, time.Second)
}
