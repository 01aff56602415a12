package bench

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// picture is a bar per contender.
type picture struct{ file, title, unit, scenario, value string }

func pictures() []picture {
	return []picture{
		{"burst.svg", "Burst: desktops a second, median", "desktops/s", Burst, "rate"},
		{"writes.svg", "API writes per desktop, events not counted", "writes", Burst, "all_writes"},
		{"cpu.svg", "API server processor time per desktop", "ms", Burst, "api_server_cpu_ms"},
		{"idle.svg", "At rest: requests a second", "requests/s", Life, "idle_requests_per_s"},
	}
}

// Plot draws the finished results as SVG files into a folder and returns their paths.
func Plot(dir string, results []Result) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	var files []string
	for _, p := range pictures() {
		file := filepath.Join(dir, p.file)
		drawn, err := p.draw(file, results)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", p.file, err)
		}
		if drawn {
			files = append(files, file)
		}
	}
	file := filepath.Join(dir, "memory.svg")
	drawn, err := drawMemory(file, results)
	if err != nil {
		return nil, fmt.Errorf("draw memory: %w", err)
	}
	if drawn {
		files = append(files, file)
	}
	return files, nil
}

// heightLabels write each bar's height above it.
func heightLabels(heights plotter.Values) (*plotter.Labels, error) {
	at := plotter.XYLabels{}
	for i, h := range heights {
		at.XYs = append(at.XYs, plotter.XY{X: float64(i), Y: h})
		at.Labels = append(at.Labels, fmt.Sprintf("%.3g", h))
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return nil, err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].XAlign = text.XCenter
	}
	labels.Offset = vg.Point{Y: vg.Points(3)}
	return labels, nil
}

// The goal for resident memory, in MiB: a base and so much for each session.
const (
	memoryBase       = 45
	memoryPerSession = 12.0 / 1024
)

// drawMemory shows the operator's resident memory at rest, by sessions, beside the goal.
func drawMemory(file string, results []Result) (drawn bool, err error) {
	var points plotter.XYs
	for _, r := range append(of(results, Ours, Life), of(results, Ours, Large)...) {
		points = append(points,
			plotter.XY{X: 0, Y: r.Values["memory_empty_mib"]},
			plotter.XY{X: float64(r.Step.Sessions), Y: r.Values["memory_burst_mib"]})
	}
	if len(points) == 0 {
		return false, nil
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	canvas := plot.New()
	canvas.Title.Text, canvas.X.Label.Text, canvas.Y.Label.Text, canvas.Y.Min = "Memory of the operator", "sessions", "MiB resident", 0
	most := points[len(points)-1].X
	goal := plotter.XYs{{X: 0, Y: memoryBase}, {X: most, Y: memoryBase + most*memoryPerSession}}
	if err := plotutil.AddLinePoints(canvas, "measured", points, "goal", goal); err != nil {
		return false, err
	}
	return true, canvas.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

// draw leaves out contenders without the figure, and draws nothing without any.
func (p picture) draw(file string, results []Result) (drawn bool, err error) {
	var names []string
	var heights plotter.Values
	for _, c := range Contenders() {
		if values := valuesOf(results, c, p.scenario, p.value); len(values) > 0 {
			names, heights = append(names, c), append(heights, median(values))
		}
	}
	if len(names) == 0 {
		return false, nil
	}
	canvas := plot.New()
	canvas.Title.Text, canvas.Y.Label.Text, canvas.Y.Min = p.title, p.unit, 0
	bars, err := plotter.NewBarChart(heights, vg.Points(36))
	if err != nil {
		return false, err
	}
	bars.LineStyle.Width, bars.Color = 0, plotutil.Color(2)
	labels, err := heightLabels(heights)
	if err != nil {
		return false, err
	}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0 // bars have no place between
	canvas.Add(grid, bars, labels)
	canvas.NominalX(names...)
	canvas.Y.Max = slices.Max(heights) * 1.1
	return true, canvas.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}
