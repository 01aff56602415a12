// Package bench compares costs of ways to do the same work. It asserts no
// times: machines differ; the numbers are for people, side by side.
package bench

import (
	"io"
	"log"
	"os"
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

func sessions() []string { return []string{"defaults", "values-overrides", "site-overlay"} }

// BenchmarkRender is the operator's path: values, schema, templates, decoding,
// post-render steps and guard.
func BenchmarkRender(b *testing.B) {
	r, err := renderer.New()
	require.NoError(b, err)
	for _, name := range sessions() {
		in := golden(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Render(in); err != nil {
					b.Fatal(err)
				}
			}
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
			b.ReportAllocs()
			for b.Loop() {
				install := action.NewInstall(&action.Configuration{})
				install.ClientOnly, install.DryRun = true, true
				install.ReleaseName, install.Namespace = in.Session.Name, in.Session.Namespace
				if _, err := install.Run(chart, values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
