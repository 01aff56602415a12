// Package accounting counts GPU-hours: what a run has used, when a budget ends, and what is
// kept of runs that are over. It is pure: it reads no clock and writes nothing.
//
// A GPU-hour is an hour of one GPU slice at cost 1. Everything is counted in GPU-seconds.
package accounting

import (
	"time"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Window is a span of time in which a budget is used up, and after which there is a new one.
type Window struct{ Begin, End time.Time }

// WindowAt is the window that a time is in: a day, a week from Monday, or a month, by the
// calendar of the zone. On the days on which clocks change it is an hour shorter or longer.
func WindowAt(kind vdi.BudgetWindow, zone *time.Location, at time.Time) Window {
	year, month, day := at.In(zone).Date()
	date := func(months, days int) time.Time { return midnight(year, month+time.Month(months), day+days, zone) }
	switch kind {
	case vdi.BudgetDay:
		return Window{date(0, 0), date(0, 1)}
	case vdi.BudgetWeek:
		sinceMonday := (int(at.In(zone).Weekday()) + 6) % 7
		return Window{date(0, -sinceMonday), date(0, 7-sinceMonday)}
	default:
		day = 1
		return Window{date(0, 0), date(1, 0)}
	}
}

// clip is what of a span lies in the window; its end may lie before its begin.
func (w Window) clip(begin, end time.Time) (time.Time, time.Time) {
	if w.End.Before(end) {
		end = w.End
	}
	return Later(begin, w.Begin), end
}

// share is what of a use that was even lies in the window.
func (w Window) share(all int64, begin, end time.Time) int64 {
	from, to := w.clip(begin, end)
	switch {
	case to.Before(from), !begin.Before(w.End):
		return 0
	case from.Equal(begin) && to.Equal(end): // also of no length
		return all
	case from.Equal(to):
		return 0
	}
	return int64(float64(all) * (to.Sub(from).Seconds() / end.Sub(begin).Seconds()))
}

// midnight is when a day begins: where the clock jumps over midnight, when it has jumped, and
// where there are two, the first.
func midnight(year int, month time.Month, day int, zone *time.Location) time.Time {
	at := time.Date(year, month, day, 0, 0, 0, 0, zone)
	noon := time.Date(year, month, day, 12, 0, 0, 0, zone)
	begin, end := at.ZoneBounds()
	if at.Day() != noon.Day() { // it lies in the evening before the jump
		return end
	}
	_, offset := at.Zone()
	_, before := begin.Add(-time.Second).Zone()
	if first := at.Add(-time.Duration(before-offset) * time.Second); first.Before(at) && first.Before(begin) && first.Day() == noon.Day() {
		return first
	}
	return at
}

// dateOf names a day.
func dateOf(at time.Time, zone *time.Location) string { return at.In(zone).Format(time.DateOnly) }

// part is what of a span lies in a day.
type part struct {
	date string
	time.Duration
}

// split divides a span by days.
func split(begin, end time.Time, zone *time.Location) (parts []part) {
	for begin.Before(end) {
		until := WindowAt(vdi.BudgetDay, zone, begin).End
		if end.Before(until) {
			until = end
		}
		parts = append(parts, part{dateOf(begin, zone), until.Sub(begin)})
		begin = until
	}
	return parts
}
