package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// row is one line of the table: a figure, where it comes from and how it is written.
type row struct {
	words    string
	scenario string
	value    string
	format   string
	goal     string
}

func rows() []row {
	return []row{
		{"API writes per desktop, controller and client (events beside)", Burst, "all_writes", "%.2f", "children + 3 = 9, and the session itself"},
		{"of these by the controller", Burst, "controller_writes", "%.2f", "≤ 9"},
		{"events per desktop", Burst, "event_writes", "%.2f", ""},
		{"live reads per desktop", Burst, "live_reads", "%.2f", "0"},
		{"conflicts in all", Burst, "conflicts", "%.0f", "0"},
		{"passes per desktop", Burst, "passes", "%.2f", "≤ 4 per life"},
		{"controller CPU per desktop, ms", Burst, "controller_cpu_ms", "%.1f", ""},
		{"API server CPU per desktop, ms", Burst, "api_server_cpu_ms", "%.1f", ""},
		{"burst, desktops/s", Burst, "rate", "%.1f", "≥ 3 × helm"},
		{"share of raw, %", Burst, share, "%.0f", "≥ 80"},
		{"overhead in the burst, p50 ms", Burst, "overhead_p50_ms", "%.0f", ""},
		{"p90 ms", Burst, "overhead_p90_ms", "%.0f", ""},
		{"p99 ms", Burst, "overhead_p99_ms", "%.0f", ""},
		{"one a second: overhead p50 ms", Quiet, "overhead_p50_ms", "%.0f", "≤ 20"},
		{"p99 ms", Quiet, "overhead_p99_ms", "%.0f", "≤ 100"},
		{"at 80 % of our burst's rate: overhead p50 ms", Paced, "overhead_p50_ms", "%.0f", ""},
		{"p99 ms", Paced, "overhead_p99_ms", "%.0f", "≤ 500"},
		{"at rest: requests/s", Life, "idle_requests_per_s", "%.2f", "≤ 1"},
		{"writes/s beside the lease", Life, "idle_writes_per_s", "%.2f", "0"},
		{"millicores", Life, "idle_millicores", "%.1f", "≤ 10"},
		{"resident memory, MiB: empty", Life, "memory_empty_mib", "%.0f", "≤ 45"},
		{"after the burst", Life, "memory_burst_mib", "%.0f", "≤ 45 + 12 KiB per session"},
		{"after a restart", Life, "memory_restart_mib", "%.0f", "the same"},
		{"restart: writes", Life, "restart_writes", "%.0f", "0"},
		{"from leading to every session looked at, s", Life, "restart_s", "%.1f", "≤ 10"},
		{"expiry of all at once: first delete after, ms", Life, "storm_first_ms", "%.0f", "≤ 1000"},
		{"deletes/s", Life, "storm_deletes_per_s", "%.1f", ""},
		{"all gone after, s", Life, "storm_gone_s", "%.1f", ""},
		{"writes per session", Life, "storm_writes", "%.2f", ""},
		{"homes deleted", Life, "storm_homes_deleted", "%.0f", "0"},
		{"failover, leader killed: next pod after, s", Failover, "failover_killed_s", "%.1f", "≤ 18"},
		{"leader asked to go, s", Failover, "failover_graceful_s", "%.1f", "≤ 3"},
		{"children made twice", Failover, "failover_duplicates", "%.0f", "0"},
	}
}

// Report writes all finished results as Markdown: the figures side by side, how
// they were taken, and the large runs.
func Report(out io.Writer, results []Result) error {
	if len(results) == 0 {
		_, err := fmt.Fprintln(out, "Nothing has been measured yet.")
		return err
	}
	results = withShares(results)
	var b strings.Builder
	columns := presentContenders(results)
	writeTable(&b, results, columns, func(scenario string) string { return scenario })
	if largest := of(results, "", Large); len(largest) > 0 {
		fmt.Fprintf(&b, "\nWith %d sessions:\n\n", largest[0].Step.Sessions)
		writeTable(&b, results, presentContenders(largest), func(scenario string) string {
			if scenario == Burst || scenario == Life {
				return Large
			}
			return ""
		})
	}
	writeCircumstances(&b, results, columns)
	_, err := io.WriteString(out, b.String())
	return err
}

// share is a rate in per cent of raw's median in the same scenario.
const share = "rate_share"

func withShares(results []Result) []Result {
	var out []Result
	for _, r := range results {
		floor := valuesOf(results, Raw, r.Step.Scenario, "rate")
		if rate, is := r.Values["rate"]; is && len(floor) > 0 {
			r.Values = maps.Clone(r.Values)
			r.Values[share] = 100 * rate / median(floor)
		}
		out = append(out, r)
	}
	return out
}

func writeTable(b *strings.Builder, results []Result, columns []string, from func(scenario string) string) {
	fmt.Fprintf(b, "| | %s | goal |\n|---|%s---|\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range rows() {
		var cells []string
		empty := true
		for _, c := range columns {
			cell := cellOf(valuesOf(results, c, from(r.scenario), r.value), r.format)
			cells = append(cells, cell)
			empty = empty && cell == "–"
		}
		if !empty {
			fmt.Fprintf(b, "| %s | %s | %s |\n", r.words, strings.Join(cells, " | "), r.goal)
		}
	}
}

// cellOf is the median, with the spread where there are several repeats.
func cellOf(values []float64, format string) string {
	switch len(values) {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf(format, values[0])
	default:
		return fmt.Sprintf(format+" ("+format+"–"+format+")", median(values), slices.Min(values), slices.Max(values))
	}
}

// writeCircumstances tells settings, sizes and how busy the machine was.
func writeCircumstances(b *strings.Builder, results []Result, columns []string) {
	fmt.Fprint(b, "\nMedian, and least and most, of the repeats. Overhead is from the written wish to the pod, and from the pod's\n"+
		"readiness until a watcher sees the wish come true. In a burst it is mostly waiting in the controller's queue; raw and\n"+
		"helm have none: their client asks for the next desktop when it has written one. Settings:\n\n")
	for _, c := range columns {
		mine := of(results, c, "")
		fmt.Fprintf(b, "- %s: %s; %s\n", c, mine[0].Settings, sizesOf(mine))
	}
	busiest := slices.MaxFunc(results, func(x, y Result) int { return strings.Compare(pad(x.Load), pad(y.Load)) })
	fmt.Fprintf(b, "\nEach step has a Kubernetes of its own (API server, etcd without fsync, controller-manager, scheduler, volume provisioner;\n"+
		"KWOK plays the nodes, with 16 pods at once) on %d cores, which all of it and the client share. Load average when the\n"+
		"busiest step (%s) began: %s.\n", busiest.Cores, busiest.Step, busiest.Load)
}

// pad makes loads comparable as text.
func pad(load string) string {
	first, _, _ := strings.Cut(load, " ")
	return fmt.Sprintf("%12s", first)
}

func sizesOf(results []Result) string {
	var sizes []string
	for _, r := range results {
		size := fmt.Sprintf("%s %d", r.Step.Scenario, r.Step.Sessions)
		if !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	slices.Sort(sizes)
	return strings.Join(sizes, ", ") + " sessions"
}

// of are the results of a contender (any when empty) in a scenario (any when empty).
func of(results []Result, contender, scenario string) []Result {
	var found []Result
	for _, r := range results {
		if (contender == "" || r.Step.Contender == contender) && (scenario == "" || r.Step.Scenario == scenario) {
			found = append(found, r)
		}
	}
	return found
}

func presentContenders(results []Result) []string {
	var present []string
	for _, c := range Contenders() {
		if len(of(results, c, "")) > 0 {
			present = append(present, c)
		}
	}
	return present
}

// valuesOf are one figure of all repeats; none when it was not measured.
func valuesOf(results []Result, contender, scenario, value string) []float64 {
	if scenario == "" {
		return nil
	}
	var found []float64
	for _, r := range of(results, contender, scenario) {
		if v, is := r.Values[value]; is {
			found = append(found, v)
		}
	}
	return found
}

// median of some values; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
