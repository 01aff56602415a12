package bench

import (
	"io"
	"log"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/renderer"
)

// golden is a session that the renderer's own tests render too.
func golden(b *testing.B, name string) renderer.Input {
	b.Helper()
	data, err := os.ReadFile("../../renderer/testdata/" + name + ".in.yaml")
	require.NoError(b, err)
	var in renderer.Input
	require.NoError(b, yaml.UnmarshalStrict(data, &in))
	return in
}

// measure runs work b.N times and reports, beside wall time and allocations, the
// processor time of the whole process, which says more on a busy machine.
func measure(b *testing.B, work func() error) {
	b.Helper()
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// processorTime is user and system time so far, in nanoseconds.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func sessions() []string { return []string{"defaults", "values-overrides", "site-overlay"} }

// BenchmarkRender is the operator's path: values, schema, templates, decoding,
// post-render steps and guard.
func BenchmarkRender(b *testing.B) {
	r, err := renderer.New()
	require.NoError(b, err)
	for _, name := range sessions() {
		in := golden(b, name)
		b.Run(name, func(b *testing.B) {
			measure(b, func() error {
				_, err := r.Render(in)
				return err
			})
		})
	}
}

// BenchmarkHelmInstallDryRun is Helm 3's own full path on the same chart with
// the same values, without a cluster: what "helm template" does, less reading
// the chart and less our post-render steps.
func BenchmarkHelmInstallDryRun(b *testing.B) {
	log.SetOutput(io.Discard)
	r, err := renderer.New()
	require.NoError(b, err)
	files, err := renderer.ChartFiles()
	require.NoError(b, err)
	chart, err := loader.LoadFiles(files)
	require.NoError(b, err)
	for _, name := range sessions() {
		in := golden(b, name)
		values, err := r.Values(in)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			measure(b, func() error {
				install := action.NewInstall(&action.Configuration{})
				install.ClientOnly, install.DryRun = true, true
				install.ReleaseName, install.Namespace = in.Session.Name, in.Session.Namespace
				_, err := install.Run(chart, values)
				return err
			})
		})
	}
}
