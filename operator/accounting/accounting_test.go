package accounting

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := platform.TimeZone(name)
	require.NoError(t, err)
	return z
}

func at(t *testing.T, z *time.Location, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation("2006-01-02 15:04", text, z)
	require.NoError(t, err)
	return when
}

// TestWindowAt: windows follow the calendar of the place, on the days on which clocks change, too.
func TestWindowAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone       string
		kind       vdi.BudgetWindow
		at         string
		begin, end string
		hours      float64
	}{
		{"Europe/Berlin", vdi.BudgetDay, "2026-11-30 15:00", "2026-11-30 00:00", "2026-12-01 00:00", 24},
		{"Europe/Berlin", vdi.BudgetDay, "2026-03-29 15:00", "2026-03-29 00:00", "2026-03-30 00:00", 23},
		{"Europe/Berlin", vdi.BudgetDay, "2026-10-25 01:00", "2026-10-25 00:00", "2026-10-26 00:00", 25},
		{"Europe/Berlin", vdi.BudgetWeek, "2026-03-29 23:59", "2026-03-23 00:00", "2026-03-30 00:00", 167},
		{"Europe/Berlin", vdi.BudgetWeek, "2026-11-30 00:00", "2026-11-30 00:00", "2026-12-07 00:00", 168},
		{"", vdi.BudgetMonth, "2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00", 29 * 24},
		{"", vdi.BudgetMonth, "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00", 31 * 24},
		{"Africa/Cairo", vdi.BudgetDay, "2026-04-24 12:00", "2026-04-24 01:00", "2026-04-25 00:00", 23},   // there is no midnight
		{"America/Havana", vdi.BudgetDay, "2026-11-01 12:00", "2026-11-01 00:00", "2026-11-02 00:00", 25}, // there are two
	} {
		z := zone(t, c.zone)
		w := WindowAt(c.kind, z, at(t, z, c.at))
		name := fmt.Sprint(c.zone, " ", c.kind, " ", c.at)
		require.Equal(t, c.begin, w.Begin.In(z).Format("2006-01-02 15:04"), name)
		require.Equal(t, c.end, w.End.In(z).Format("2006-01-02 15:04"), name)
		require.InDelta(t, c.hours, w.End.Sub(w.Begin).Hours(), 0, name)
	}
}

// TestWindowsAbut: every moment is in its window, and the next one begins where that ends.
func TestWindowsAbut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Europe/Berlin", "America/Havana", "Africa/Cairo", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Asia/Beirut"} {
		z := zone(t, name)
		for _, kind := range []vdi.BudgetWindow{vdi.BudgetDay, vdi.BudgetWeek, vdi.BudgetMonth} {
			last := Window{}
			for when := time.Date(2026, 1, 1, 0, 17, 0, 0, time.UTC); when.Year() < 2028; when = when.Add(27 * time.Minute) {
				w := WindowAt(kind, z, when)
				if when.Before(w.Begin) || !when.Before(w.End) { // asked a million times, which testify would make long
					require.Fail(t, "outside of its window", "%s %s %s: %v", name, kind, when.In(z), w)
				}
				if w == last {
					continue
				}
				last = w
				require.Equal(t, w.End.UTC(), WindowAt(kind, z, w.End).Begin.UTC(), "%s %s %s", name, kind, when.In(z))
			}
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	z := zone(t, "Europe/Berlin")
	parts := split(at(t, z, "2026-03-28 22:00"), at(t, z, "2026-03-30 01:30"), z)
	require.Equal(t, []part{{"2026-03-28", 2 * time.Hour}, {"2026-03-29", 23 * time.Hour}, {"2026-03-30", 90 * time.Minute}}, parts)
	require.Empty(t, split(at(t, z, "2026-03-28 22:00"), at(t, z, "2026-03-28 22:00"), z))
	require.Empty(t, split(at(t, z, "2026-03-28 22:00"), at(t, z, "2026-03-28 21:00"), z), "a clock that went back gives nothing back")
}

func TestRate(t *testing.T) {
	t.Parallel()
	require.Equal(t, int64(7200), RateOf(2, 1000).Use(time.Hour))
	require.Equal(t, int64(900), RateOf(1, 250).Use(time.Hour))
	require.Equal(t, int64(1), RateOf(1, 1).Use(time.Millisecond), "what is begun counts")
	require.Zero(t, RateOf(0, 1000).Use(time.Hour))
	require.Zero(t, RateOf(1, 1000).Use(-time.Hour))
}

// TestBudgetEnd: the end is known ahead, over new budgets, too, and stays as it is while
// nothing changes.
func TestBudgetEnd(t *testing.T) {
	t.Parallel()
	z := zone(t, "Europe/Berlin")
	hours := func(n int64) int64 { return n * 3600 }
	run := func(begin string, rate Rate) Run { return Run{Begin: at(t, z, begin), Rate: rate} }
	since18 := run("2026-11-30 18:00", 1000)
	for name, c := range map[string]struct {
		limit, recorded int64
		kind            vdi.BudgetWindow
		runs            []Run
		end             string
	}{
		"today":                       {hours(8), hours(4), vdi.BudgetDay, []Run{since18}, "2026-11-30 22:00"},
		"used up":                     {hours(8), hours(6), vdi.BudgetDay, []Run{since18}, "2026-11-30 20:00"},
		"recorded since":              {hours(8), hours(7), vdi.BudgetDay, []Run{since18}, "2026-11-30 19:00"},
		"two slices":                  {hours(8), hours(2), vdi.BudgetDay, []Run{run("2026-11-30 18:00", 2000)}, "2026-11-30 21:00"},
		"two desktops":                {hours(8), hours(3), vdi.BudgetDay, []Run{since18, run("2026-11-30 19:00", 1000)}, "2026-11-30 21:00"},
		"one of yesterday":            {hours(22), 0, vdi.BudgetDay, []Run{run("2026-11-29 10:00", 1000)}, "2026-11-30 22:00"},
		"with tomorrow's":             {hours(8), 0, vdi.BudgetDay, []Run{since18}, "2026-12-01 08:00"},
		"each day is enough":          {hours(25), 0, vdi.BudgetDay, []Run{since18}, ""},
		"no GPU":                      {hours(1), hours(1), vdi.BudgetDay, []Run{run("2026-11-30 18:00", 0)}, ""},
		"nothing runs":                {hours(1), hours(1), vdi.BudgetDay, nil, ""},
		"next month's":                {hours(10), 0, vdi.BudgetMonth, []Run{since18}, "2026-12-01 10:00"},
		"a week that begins today":    {hours(30), hours(20), vdi.BudgetWeek, []Run{since18}, "2026-12-01 04:00"},
		"all of a month, but for one": {hours(30 * 24), 0, vdi.BudgetMonth, []Run{since18}, "2026-12-31 00:00"},
		"but for the longest day":     {hours(24) + 1800, 0, vdi.BudgetDay, []Run{since18}, "2027-10-31 23:30"},
	} {
		for _, later := range []time.Duration{0, 17*time.Minute + 313*time.Millisecond, 59*time.Minute + 999*time.Millisecond} {
			end, ends := Budget{c.limit, c.kind, z}.End(c.recorded, c.runs, at(t, z, "2026-11-30 20:00").Add(later))
			require.Equal(t, c.end != "", ends, name)
			if ends {
				require.Equal(t, c.end, end.In(z).Format("2006-01-02 15:04"), "%s, asked %s later", name, later)
			}
		}
	}
}

func kept(zone *time.Location) Kept { return Kept{zone, 13} }

// TestBudgetEndOfExtremes: no limit and no cost lets an end come before it is due.
func TestBudgetEndOfExtremes(t *testing.T) {
	t.Parallel()
	now := at(t, time.UTC, "2026-11-30 20:00")
	for _, limit := range []int64{0, 1, 3600, 999999 * 3600} {
		for _, rate := range []Rate{1, 100, 1000, 9999_999 * 64} {
			for _, used := range []int64{0, 3600, 9999 * 64 * 31 * 86400} {
				for _, kind := range []vdi.BudgetWindow{vdi.BudgetDay, vdi.BudgetWeek, vdi.BudgetMonth} {
					run := Run{Begin: now.Add(-time.Hour), Rate: rate}
					end, ends := Budget{limit, kind, time.UTC}.End(used, []Run{run}, now)
					w := WindowAt(kind, time.UTC, now)
					left := (limit-used)*1000 - int64(rate)*3600 // of this window, now
					if left >= int64(rate)*int64(w.End.Sub(now)/time.Second) {
						require.True(t, !ends || !end.Before(w.End), "%d %d %d %s: %s", limit, rate, used, kind, end)
						continue
					}
					require.True(t, ends)
					require.True(t, end.Before(w.End) && !end.Before(w.Begin), "%d %d %d %s: %s", limit, rate, used, kind, end)
					require.Equal(t, left <= -int64(rate), end.Before(now), "%d %d %d %s: %s", limit, rate, used, kind, end)
				}
			}
		}
	}
}

// TestRecord: a run counts once, by the days of the zone, and for its quotas by their windows.
func TestRecord(t *testing.T) {
	t.Parallel()
	utc, berlin := zone(t, ""), zone(t, "Europe/Berlin")
	u := &vdi.VDIUsage{}
	run := Run{UID: "1", Namespace: "art", Template: "blender", Quotas: []string{"artists"}, Begin: at(t, utc, "2026-11-29 22:00"), End: at(t, utc, "2026-11-30 01:00"), Rate: 2000}
	require.True(t, kept(berlin).Record(u, run))
	require.False(t, kept(berlin).Record(u, run))
	require.Equal(t, []vdi.UsageSpan{
		{Date: "2026-11-29", Namespace: "art", Template: "blender", Runs: 1, Seconds: 3600, GPUSeconds: 7200},
		{Date: "2026-11-30", Namespace: "art", Template: "blender", Seconds: 7200, GPUSeconds: 14400},
	}, u.Status.Days)
	require.Equal(t, [2]string{"2026-11", "6.00"}, [2]string{u.Status.Month, u.Status.GPUHours})
	require.True(t, Has(u, "1"))
	require.False(t, Has(u, "2"))
	require.False(t, Has(nil, "1"))
	for _, c := range []struct {
		zone  *time.Location
		quota string
		used  int64
	}{{utc, "artists", 7200}, {berlin, "artists", 14400}, {zone(t, "Asia/Tokyo"), "artists", 21600}, {utc, "students", 0}} {
		require.Equal(t, c.used, Used(u, c.quota, WindowAt(vdi.BudgetDay, c.zone, run.End)), "%s %s", c.zone, c.quota)
	}
	require.Zero(t, Used(nil, "artists", WindowAt(vdi.BudgetDay, utc, run.End)))

	longer := run
	longer.End = run.End.Add(time.Hour)
	require.False(t, kept(berlin).Record(u, longer), "the first end counts: who could not say so looks again later")
	back := Run{UID: "2", Namespace: "art", Template: "blender", Begin: run.Begin, End: run.Begin.Add(-time.Hour), Rate: 1000}
	require.True(t, kept(berlin).Record(u, back))
	require.Equal(t, "6.00", u.Status.GPUHours, "a clock that went back gives nothing back")
}

// TestFold: old days are months, old months are nothing, and nothing counts twice or is lost.
func TestFold(t *testing.T) {
	t.Parallel()
	utc := zone(t, "")
	u := &vdi.VDIUsage{}
	begin := at(t, utc, "2025-01-01 10:00")
	random := rand.New(rand.NewPCG(1, 2))
	for day := range 365 {
		from := begin.AddDate(0, 0, day)
		kept(utc).Record(u, Run{UID: types.UID(fmt.Sprint(day)), Namespace: "art", Template: fmt.Sprint("t", random.IntN(2)), Quotas: []string{"all"}, Begin: from, End: from.Add(time.Hour), Rate: 1000})
	}
	total := func() (gpuSeconds int64, runs int32) {
		for _, s := range slices.Concat(u.Status.Days, u.Status.Months) {
			gpuSeconds, runs = gpuSeconds+s.GPUSeconds, runs+s.Runs
		}
		return gpuSeconds, runs
	}
	gpuSeconds, runs := total()
	require.Equal(t, [2]int64{365 * 3600, 365}, [2]int64{gpuSeconds, int64(runs)})
	require.LessOrEqual(t, len(u.Status.Months), 2*11)
	require.Len(t, u.Status.Days, daysKept+1)
	require.Len(t, u.Status.Runs, 34, "those of the longest window")
	year := begin.AddDate(0, 0, 365)
	require.False(t, kept(utc).Fold(u, begin.AddDate(0, 0, 364)))
	month := WindowAt(vdi.BudgetMonth, utc, year.AddDate(0, 0, -1))
	before := Used(u, "all", month)
	many := 2 * mostRunBytes / 150
	for i := range many {
		from := begin.AddDate(0, 0, 364).Add(time.Duration(i) * time.Second)
		kept(utc).Record(u, Run{UID: types.UID(fmt.Sprint("again", i)), Namespace: "art", Quotas: []string{"all"}, Begin: from, End: from.Add(time.Second), Rate: 1000})
	}
	require.InDelta(t, mostRunBytes, runBytes(u), 200)
	require.InDelta(t, before+int64(many), Used(u, "all", month), 3600, "what is put together counts, but for what lies in both months")
	for i := range 2 * mostSpans {
		kept(utc).Record(u, Run{UID: types.UID(fmt.Sprint("wide", i)), Namespace: fmt.Sprint(i), Begin: year, End: year.Add(time.Second), Rate: 1000})
	}
	require.Len(t, u.Status.Days, mostSpans)
	require.LessOrEqual(t, len(u.Status.Months), mostSpans)

	require.True(t, kept(utc).Fold(u, year.AddDate(3, 0, 0)))
	require.True(t, IsEmpty(u))
}
