package accounting

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
)

const (
	// daysKept are those that are kept one by one; older ones are part of their month.
	daysKept = 62
	// runsKept is for how long a run is known by itself: no window began before that.
	runsKept = 33 * 24 * time.Hour
	// mostRunBytes and mostSpans bound what one person's object holds, far below what the API
	// server takes.
	mostRunBytes, mostSpans = 256 << 10, 3000
)

// Run is a pod that holds GPUs, or has held them.
type Run struct {
	// UID of the pod: it counts once.
	UID                 types.UID
	Namespace, Template string
	// Quotas whose GPU-hours it uses: those that limited it when it started.
	Quotas     []string
	Begin, End time.Time
	Rate       Rate
}

// GPUSeconds are what it has used.
func (r Run) GPUSeconds() int64 { return r.Rate.Use(r.End.Sub(r.Begin)) }

// In is what it has used in a window, in GPU-seconds.
func (r Run) In(w Window) int64 {
	begin, end := w.clip(r.Begin, r.End)
	return r.Rate.Use(end.Sub(begin))
}

// Kept says where what is over is kept.
type Kept struct {
	// Zone by whose calendar days and months are.
	Zone *time.Location
	// Months that are kept after the days.
	Months int
}

// Record adds a run to what a person has used. It reports whether it was new.
func (k Kept) Record(u *vdi.VDIUsage, run Run) bool {
	if Has(u, run.UID) {
		return false
	}
	run.Begin, run.End = run.Begin.Truncate(time.Second), Later(run.End, run.Begin).Truncate(time.Second)
	u.Status.Runs = append(u.Status.Runs, vdi.UsedRun{
		UID: run.UID, Begin: metav1.NewTime(run.Begin), End: metav1.NewTime(run.End), GPUSeconds: run.GPUSeconds(), Quotas: run.Quotas,
	})
	for n, p := range split(run.Begin, run.End, k.Zone) {
		day := vdi.UsageSpan{Date: p.date, Namespace: run.Namespace, Template: run.Template, Seconds: int64(p.Duration / time.Second), GPUSeconds: run.Rate.Use(p.Duration)}
		if n == 0 {
			day.Runs = 1
		}
		u.Status.Days = add(u.Status.Days, day)
	}
	k.Fold(u, run.End)
	k.sum(u, run.End)
	return true
}

// sum shows the month of the last run.
func (k Kept) sum(u *vdi.VDIUsage, end time.Time) {
	if u.Status.LastEnd != nil && end.Before(u.Status.LastEnd.Time) {
		end = u.Status.LastEnd.Time
	}
	u.Status.LastEnd, u.Status.Month = &metav1.Time{Time: end}, end.In(k.Zone).Format("2006-01")
	u.Status.GPUHours = Hours(usedIn(u.Status.Days, u.Status.Month) + usedIn(u.Status.Months, u.Status.Month))
}

// usedIn is what spans of a month have used, in GPU-seconds.
func usedIn(spans []vdi.UsageSpan, month string) (gpuSeconds int64) {
	for i := range spans { // there may be thousands, each of a hundred bytes
		if strings.HasPrefix(spans[i].Date, month) {
			gpuSeconds += spans[i].GPUSeconds
		}
	}
	return gpuSeconds
}

// Fold puts old days into their months, and forgets what is older than that. It reports
// whether there was any.
func (k Kept) Fold(u *vdi.VDIUsage, now time.Time) bool {
	runs, days, months := len(u.Status.Runs), len(u.Status.Days), len(u.Status.Months)
	u.Status.Runs = slices.DeleteFunc(u.Status.Runs, func(r vdi.UsedRun) bool { return r.End.Time.Before(now.Add(-runsKept)) })
	for runBytes(u) > mostRunBytes && join(u) {
	}
	oldest := dateOf(now.AddDate(0, 0, -daysKept), k.Zone)
	for len(u.Status.Days) > 0 && (u.Status.Days[0].Date < oldest || len(u.Status.Days) > mostSpans) {
		day := u.Status.Days[0]
		day.Date = day.Date[:len("2006-01")]
		u.Status.Days, u.Status.Months = u.Status.Days[1:], add(u.Status.Months, day)
	}
	first := now.In(k.Zone).AddDate(0, -k.Months, 1-now.In(k.Zone).Day()).Format("2006-01")
	for len(u.Status.Months) > 0 && (u.Status.Months[0].Date < first || len(u.Status.Months) > mostSpans) {
		u.Status.Months = u.Status.Months[1:]
	}
	return runs != len(u.Status.Runs) || days != len(u.Status.Days) || months != len(u.Status.Months)
}

// runBytes is about how large the runs are.
func runBytes(u *vdi.VDIUsage) (n int) {
	for _, r := range u.Status.Runs {
		n += 150
		for _, q := range r.Quotas {
			n += len(q) + 3
		}
	}
	return n
}

// join puts the oldest two runs together that count for the same quotas; false: there are none.
func join(u *vdi.VDIUsage) bool {
	runs := u.Status.Runs
	for i := range runs {
		for j := i + 1; j < len(runs); j++ {
			if slices.Equal(runs[i].Quotas, runs[j].Quotas) {
				begin := metav1.NewTime(runs[i].Begin.Time)
				if runs[j].Begin.Time.Before(begin.Time) {
					begin = runs[j].Begin
				}
				runs[j] = vdi.UsedRun{Begin: begin, End: metav1.NewTime(Later(runs[i].End.Time, runs[j].End.Time)), GPUSeconds: runs[i].GPUSeconds + runs[j].GPUSeconds, Quotas: runs[j].Quotas}
				u.Status.Runs = slices.Delete(runs, i, i+1)
				return true
			}
		}
	}
	return false
}

// IsEmpty reports whether nothing is kept of a person.
func IsEmpty(u *vdi.VDIUsage) bool {
	return len(u.Status.Runs)+len(u.Status.Days)+len(u.Status.Months) == 0
}

func compareSpans(a, b vdi.UsageSpan) int {
	return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Template, b.Template))
}

// add adds to the span of the same date, or puts it in its place.
func add(spans []vdi.UsageSpan, s vdi.UsageSpan) []vdi.UsageSpan {
	at, found := slices.BinarySearchFunc(spans, s, compareSpans)
	if !found {
		return slices.Insert(spans, at, s)
	}
	spans[at].Runs += s.Runs
	spans[at].Seconds += s.Seconds
	spans[at].GPUSeconds += s.GPUSeconds
	return spans
}

// Has reports whether a run was recorded.
func Has(u *vdi.VDIUsage, run types.UID) bool {
	return u != nil && slices.ContainsFunc(u.Status.Runs, func(r vdi.UsedRun) bool { return r.UID == run })
}

// Used is what a person has used of a quota's budget in a window by runs that were recorded,
// in GPU-seconds.
func Used(u *vdi.VDIUsage, quota string, w Window) (gpuSeconds int64) {
	if u == nil {
		return 0
	}
	for _, r := range u.Status.Runs {
		if slices.Contains(r.Quotas, quota) {
			gpuSeconds += w.share(r.GPUSeconds, r.Begin.Time, r.End.Time)
		}
	}
	return gpuSeconds
}
