package accounting

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

// Rate is what a run uses: thousandths of GPU slices, times their cost. A desktop without a
// GPU has none.
type Rate int64

// Cost is a template's gpu.cost, in thousandths; what the API server would not have accepted
// counts as 1.
func Cost(text string) int64 {
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		return 1000
	}
	return q.MilliValue()
}

// Hours shows GPU-seconds as GPU-hours.
func Hours(gpuSeconds int64) string {
	hundredths := (gpuSeconds + 18) / 36
	return fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)
}

// RateOf is the rate of so many slices of a template's cost, in thousandths.
func RateOf(gpuSlices int32, cost int64) Rate { return Rate(int64(gpuSlices) * cost) }

// Use is what a rate uses in a time, in GPU-seconds; what is begun counts.
func (r Rate) Use(d time.Duration) int64 {
	if d <= 0 || r <= 0 {
		return 0
	}
	seconds := int64((d + time.Second - 1) / time.Second)
	return (seconds*int64(r) + 999) / 1000
}

// Budget is what may be used in each window.
type Budget struct {
	Limit int64 // GPU-seconds
	Kind  vdi.BudgetWindow
	Zone  *time.Location
}

// windowsAhead are looked through for the end of a budget: it is known a year ahead.
const windowsAhead = 366

// End is when a budget will be used up of which used is gone in the present window, in
// GPU-seconds, if these runs go on, by whole seconds; false: never, since each window's budget
// lasts for all of it. It is the same whenever it is asked, until something changes.
func (b Budget) End(used int64, runs []Run, now time.Time) (time.Time, bool) {
	w := WindowAt(b.Kind, b.Zone, now)
	var rate, before int64 // what the runs would have used, had all gone on since the window's begin
	for _, run := range runs {
		rate += int64(run.Rate)
		before += int64(run.Rate) * int64(Later(run.Begin, w.Begin).Sub(w.Begin)/time.Second)
	}
	if rate <= 0 {
		return time.Time{}, false
	}
	left := (b.Limit-used)*1000 + before
	for range windowsAhead {
		if seconds := max(left/rate, 0); seconds < int64(w.End.Sub(w.Begin)/time.Second) {
			return w.Begin.Add(time.Duration(seconds) * time.Second), true
		}
		if b.Limit*1000/rate >= longest[b.Kind] {
			return time.Time{}, false
		}
		w, left = WindowAt(b.Kind, b.Zone, w.End), b.Limit*1000
	}
	return time.Time{}, false
}

// longest are the seconds of the longest window of each kind, changes of the clock and of the
// calendar included.
var longest = map[vdi.BudgetWindow]int64{vdi.BudgetDay: 48 * 3600, vdi.BudgetWeek: 8 * 86400, vdi.BudgetMonth: 32 * 86400}

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
