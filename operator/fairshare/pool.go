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
	Patience time.Duration
}

// offered is the limit of those that are offered to the scheduler of a pool.
const offered Field = "offered"

// poolLimit is that limit.
func poolLimit(pool string) limit { return limit{field: offered, person: pool} }

// pool is those who can take each other's room: what they ask for, and where they may run,
// are the same.
type pool struct {
	stuck int  // pods that find no room
	full  bool // some did, and those who came meanwhile are not all let in yet
}

// place notes what the scheduler says of an entry's pod. One that finds no room for long is
// passed over: it keeps what is booked, and holds up nobody.
func (l *Ledger) place(e *entry, pool string, p Placement, since, now time.Time) {
	if e.run == nil {
		p = Placed
	}
	passed := p == Full && l.Window.Patience > 0 && now.Sub(since) >= l.Window.Patience
	if e.pool == pool && e.placement == p && e.passed == passed {
		return
	}
	l.countPool(e, -1)
	e.pool, e.placement, e.passed = pool, p, passed
	l.countPool(e, +1)
}

// countPool adds an entry to those of its pool that have no node, or takes it off.
func (l *Ledger) countPool(e *entry, sign int) {
	if e.pool == "" || e.placement == Placed || e.passed {
		return
	}
	at := poolLimit(e.pool)
	if l.used[at] += int64(sign); l.used[at] == 0 {
		delete(l.used, at)
	}
	if e.placement != Full {
		return
	}
	if l.pools == nil {
		l.pools = map[string]*pool{}
	}
	p := l.pools[e.pool]
	if p == nil {
		p = &pool{}
		l.pools[e.pool] = p
	}
	p.stuck += sign
	p.full = p.full || p.stuck > 0
}

// bound is what a pool lets a session have; false: anything, since nobody finds no room there.
func (l *Ledger) poolBound(name string) (bound, bool) {
	if p := l.pools[name]; p == nil || !p.full {
		return bound{}, false
	}
	return bound{limit: poolLimit(name), most: max(l.Window.Pods, 1)}, true
}

// settlePools forgets that pools were full where nobody waits for them any more.
func (l *Ledger) settlePools(waiting map[string]bool) {
	for name, p := range l.pools {
		if p.stuck == 0 && !waiting[name] {
			delete(l.pools, name)
		}
	}
}

// Stuck is how long until a session's pod is passed over that finds no room; 0: never, or it
// finds some.
func (l *Ledger) Stuck(key types.NamespacedName, since, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil || e.placement != Full || e.passed || l.Window.Patience == 0 {
		return 0
	}
	return max(l.Window.Patience-now.Sub(since), time.Second)
}
