package fairshare

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/operator/accounting"
	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

// GPUHours is the field of what people may use in a time; it is counted in GPU-seconds.
const GPUHours Field = "gpuHours"

// writtenWithin is how soon the cache shows what was written down of a run. What it does not
// show by then is of a history that the API server has gone back from.
const writtenWithin = time.Minute

// hours are what one person has used, and uses.
type hours struct {
	usage   *vdi.VDIUsage   // as it was last read; nil: nothing is known
	over    []past          // what is over and not in there yet
	entries map[*entry]bool // the person's sessions
}

// past is a run that is over.
type past struct {
	accounting.Run

	of        *entry
	uncounted bool      // it is still to be written down
	seen      time.Time // when that was last said
}

// Budget is what a quota gives a session's person of GPU-hours, and what they use of it.
type Budget struct {
	Quota string
	accounting.Budget
	// Usage is what was used by runs that were written down; nil: nothing was.
	Usage *vdi.VDIUsage
	// Over are the runs that are over and not written down yet, and Others those of the
	// person's other sessions that go on.
	Over, Others []accounting.Run
}

// over is what is used of it in a window by runs that are over, in GPU-seconds.
func (b *Budget) over(w accounting.Window) int64 {
	used := accounting.Used(b.Usage, b.Quota, w)
	for _, run := range b.Over {
		used += run.In(w)
	}
	return used
}

// Ends is when it is used up if a run goes on, and all others do.
func (b *Budget) Ends(run accounting.Run, now time.Time) (time.Time, bool) {
	return b.End(b.over(accounting.WindowAt(b.Kind, b.Zone, now)), append(slices.Clone(b.Others), run), now)
}

// SetUsage replaces what is known of what a person has used by runs that are over, nil if that
// is nothing any more, and returns their sessions whose end may be another because of that.
func (l *Ledger) SetUsage(user string, u *vdi.VDIUsage) (woken []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hoursOf(user)
	h.usage = u
	h.over = slices.DeleteFunc(h.over, func(run past) bool { return accounting.Has(u, run.UID) })
	woken = l.dependents(user, nil)
	l.leaveHours(user)
	return woken
}

// Budgets are what a session's person has of GPU-hours; none: they are not limited.
func (l *Ledger) Budgets(s Session, now time.Time) (budgets []Budget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entryOf(s)
	for _, q := range e.rules.budgets {
		budgets = append(budgets, l.budget(q, e, now))
	}
	return budgets
}

// LimitsHours reports whether any quota limits GPU-hours.
func (l *Ledger) LimitsHours() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.quotas, func(q quota) bool { return q.budget != nil })
}

func (l *Ledger) budget(q *quota, e *entry, now time.Time) Budget {
	b := Budget{Quota: q.name, Budget: *q.budget}
	h := l.hoursOf(e.User)
	b.Usage = h.usage
	h.over = slices.DeleteFunc(h.over, func(run past) bool { return !run.uncounted && now.Sub(run.seen).Abs() > writtenWithin })
	for _, run := range h.over {
		if slices.Contains(run.Quotas, q.name) {
			b.Over = append(b.Over, run.Run)
		}
	}
	for other := range h.entries {
		if other != e && other.runs.Rate > 0 && slices.Contains(other.runs.Quotas, q.name) {
			b.Others = append(b.Others, other.runs)
		}
	}
	return b
}

// shortOfHours is the budget of which too little is left for a start: it lasts for less than
// the time for which its end is announced, that of others that have just been let in counted.
func (l *Ledger) shortOfHours(e *entry, r Request) *Shortage {
	if r.Rate <= 0 || r.Run[GPUSlices] <= e.run[GPUSlices] {
		return nil
	}
	least := max(r.Rate.Use(r.Warn), 1)
	for _, q := range e.rules.budgets {
		b := l.budget(q, e, r.Now)
		w := accounting.WindowAt(b.Kind, b.Zone, r.Now)
		used := b.over(w)
		for other := range l.hoursOf(e.User).entries {
			if other != e {
				used += other.uses(q, w, r.Now)
			}
		}
		if used+least > b.Limit {
			return &Shortage{
				limit: limit{q.name, GPUHours, e.User}, Field: GPUHours, Quota: q.name, UID: q.uid, Generation: q.generation, PerUser: true,
				Limit: b.Limit, Used: used, Asked: least, Never: least > b.Limit, Room: w.End,
			}
		}
	}
	return nil
}

// uses is what a session uses of a quota's budget in a window, and at least will.
func (e *entry) uses(q *quota, w accounting.Window, now time.Time) int64 {
	switch {
	case e.runs.UID == "" && e.run != nil && slices.Contains(e.rules.budgets, q):
		return e.least
	case !slices.Contains(e.runs.Quotas, q.name):
		return 0
	}
	run := e.runs
	run.End = now
	return run.In(w) + max(e.least-run.GPUSeconds(), 0)
}

// refuseHours refuses a start for which GPU-hours are missing.
func (l *Ledger) refuseHours(e *entry, short *Shortage, r Request) Answer {
	l.withdraw(e)
	l.refuse(e, nil)
	answer := Answer{Short: short}
	if l.quota(short.Quota).spec.OnExceeded == vdi.QuotaReject {
		short.Stands = true
		answer.Queue = &vdi.QueueStatus{Since: metav1.Time{Time: r.Now.Truncate(time.Second)}, Quota: short.Quota, QuotaUID: short.UID, QuotaGeneration: short.Generation}
	}
	return answer
}

// setRunning notes the run of a session, and which one is over. It reports whether what the
// person uses, or is to have, is another because of that.
func (l *Ledger) setRunning(e *entry, s Seen) bool {
	before, h := e.runs, l.hoursOf(e.User)
	e.runs = s.Counted
	news := e.runs.UID != before.UID && len(before.Quotas)+len(e.runs.Quotas) > 0
	if e.run == nil && e.least > 0 {
		e.least, news = 0, true
	}
	for i := range h.over {
		if run := &h.over[i]; run.of == e && run.uncounted {
			run.uncounted, run.seen = run.UID == s.Over.UID && !s.Written, s.Now
		}
	}
	if over := s.Over; over.UID != "" && over.Rate > 0 && len(over.Quotas) > 0 && !accounting.Has(h.usage, over.UID) &&
		!slices.ContainsFunc(h.over, func(run past) bool { return run.UID == over.UID }) {
		h.over = append(h.over, past{over, e, !s.Written, s.Now})
		news = true
	}
	return news
}

// Lost is a run whose end no pass has seen: its session is gone, without its finalizer.
type Lost struct {
	User string
	Run  accounting.Run
}

// lose notes what an entry has left that is dropped: its end is not known better than that
// it was no later than now.
func (l *Ledger) lose(e *entry) {
	if e.runs.UID == "" {
		return
	}
	e.runs.End = l.latest
	l.lost = append(l.lost, Lost{e.User, e.runs})
	if h := l.hoursOf(e.User); len(e.runs.Quotas) > 0 && e.runs.Rate > 0 {
		h.over = append(h.over, past{e.runs, e, true, l.latest})
	}
}

// HasLost reports whether there are any.
func (l *Ledger) HasLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lost) > 0
}

// Lost hands over the runs that are to be written down.
func (l *Ledger) Lost() (lost []Lost) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, l.lost = l.lost, nil
	return lost
}

// Lose takes a run that could not be written down.
func (l *Ledger) Lose(lost Lost) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, lost)
}

// dependents are a person's sessions that another end or a start may come for by what one of
// them uses.
func (l *Ledger) dependents(user string, than *entry) (names []types.NamespacedName) {
	for e := range l.hoursOf(user).entries {
		_, refused := l.refused[e]
		if e != than && (len(e.runs.Quotas) > 0 || (refused && len(e.rules.budgets) > 0)) {
			names = append(names, e.NamespacedName)
		}
	}
	return names
}

func (l *Ledger) hoursOf(user string) *hours {
	if l.hours == nil {
		l.hours = map[string]*hours{}
	}
	if l.hours[user] == nil {
		l.hours[user] = &hours{entries: map[*entry]bool{}}
	}
	return l.hours[user]
}

// leaveHours forgets a person of whom nothing is known.
func (l *Ledger) leaveHours(user string) {
	if h := l.hours[user]; h != nil && len(h.entries) == 0 && h.usage == nil && len(h.over) == 0 {
		delete(l.hours, user)
	}
}

// budgetOf reads a quota's limit of GPU-hours; nil: it has none. A time zone that is not known
// counts as UTC: the quota's condition says so.
func budgetOf(q *vdi.VDIQuota) *accounting.Budget {
	if q.Spec.PerUser == nil || q.Spec.PerUser.GPUHours == nil {
		return nil
	}
	h := q.Spec.PerUser.GPUHours
	zone, err := platform.TimeZone(h.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	return &accounting.Budget{Limit: accounting.Cost(h.Limit) * 3600 / 1000, Kind: h.Window, Zone: zone}
}
