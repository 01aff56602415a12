package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStepsAreInterleaved(t *testing.T) {
	p := DefaultPlan()
	require.NoError(t, p.Check())
	p.Contenders, p.Scenarios, p.Repeats = []string{Raw, Helm, Ours}, []string{Burst, Large}, 2
	var names []string
	for _, s := range p.Steps() {
		names = append(names, s.String())
	}
	require.Equal(t, []string{
		"burst-raw-1000-1", "burst-ours-1000-1", "burst-helm-200-1",
		"burst-raw-1000-2", "burst-ours-1000-2", "burst-helm-200-2",
		"large-raw-5000-1", "large-ours-5000-1",
	}, names)
}

func TestPlanNamesTheFlag(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"--contenders: no contender \"flux\"": func(p *Plan) { p.Contenders = []string{"flux"} },
		"--scenarios: no scenario \"soak\"":   func(p *Plan) { p.Scenarios = []string{"soak"} },
		"--sessions: 0, want at least 1":      func(p *Plan) { p.Sessions = 0 },
	} {
		p := DefaultPlan()
		change(&p)
		require.ErrorContains(t, p.Check(), want)
	}
}

func TestEveryContenderIsThere(t *testing.T) {
	for _, name := range Contenders() {
		c, err := contenderOf(name)
		require.NoError(t, err)
		require.NotEmpty(t, c.users)
		require.NotEmpty(t, c.settings)
	}
	for _, name := range Scenarios() {
		require.Contains(t, scenarios(), name)
	}
}

func TestResultsAreKept(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	step := Step{Contender: Ours, Scenario: Burst, Sessions: 10, Repeat: 1}
	_, found, err := store.Find(step)
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, store.Save(Result{Step: step, Values: map[string]float64{"rate": 7}}))
	r, found, err := store.Find(step)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, 7.0, r.Values["rate"])
}

func TestFiguresOfALife(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	l := life{begun: at(0), asked: at(10), pod: at(25), ready: at(1000), usable: at(1030)}
	require.Equal(t, 45*time.Millisecond, l.overhead(), "to the pod, and from its readiness")
	late := life{begun: at(500), asked: at(510), pod: at(520), ready: at(1900), usable: at(2000)}
	require.InDelta(t, 1.0, rate([]life{late, l}), 1e-9, "two desktops in two seconds")

	var d []time.Duration
	for i := range 100 {
		d = append(d, time.Duration(100-i)*time.Millisecond)
	}
	require.Equal(t, []float64{50, 99, 100}, []float64{percentile(d, 50), percentile(d, 99), percentile(d, 100)})
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
}

func TestReportShowsMedianSpreadAndGaps(t *testing.T) {
	var results []Result
	for repeat, rate := range []float64{10, 30, 20} {
		results = append(results, Result{
			Step: Step{Ours, Burst, 100, repeat + 1}, Load: "1.00 2 3", Settings: "fast", Values: map[string]float64{"rate": rate},
		})
	}
	results = append(results, Result{Step: Step{Raw, Burst, 100, 1}, Load: "10.00 2 3", Values: map[string]float64{"rate": 40, "all_writes": 8}})
	var out strings.Builder
	require.NoError(t, Report(&out, results))
	require.Contains(t, out.String(), "| burst, desktops/s | 40.0 | 20.0 (10.0–30.0) |")
	require.Contains(t, out.String(), "| share of raw, % | 100 | 50 (25–75) |")
	require.Contains(t, out.String(), "| 8.00 | – |")
	require.Contains(t, out.String(), "(burst-raw-100-1) began: 10.00 2 3")
	files, err := Plot(t.TempDir(), results)
	require.NoError(t, err)
	require.Len(t, files, 2, "what nobody measured is not drawn")
}
