// Package parity shows that the session chart renders to the same bytes with
// Helm 3 and Helm 4, so that the operator can change its library without
// changing a desktop. Helm 4 lives in this module only.
package parity

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	chartutil3 "helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	loader4 "helm.sh/helm/v4/pkg/chart/v2/loader"
	engine4 "helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/renderer"
)

func TestHelm3AndHelm4WriteTheSame(t *testing.T) {
	r, err := renderer.New()
	require.NoError(t, err)
	files, err := filepath.Glob("../../renderer/testdata/*.in.yaml")
	require.NoError(t, err)
	compared := 0
	for _, file := range files {
		in := read(t, file)
		values, err := r.Values(in)
		if err != nil {
			continue // the same for both: our own schema check comes first
		}
		three, err3 := helm3(t, in, values)
		four, err4 := helm4(t, in, values)
		require.Equal(t, err3 == nil, err4 == nil, "%s: Helm 3: %v, Helm 4: %v", file, err3, err4)
		if err3 == nil {
			assert.Equal(t, three, four, file)
			compared++
		}
	}
	assert.Greater(t, compared, 20)
}

// TestBothRefuseWhatTheSchemaRefuses: people install the chart by hand as well.
func TestBothRefuseWhatTheSchemaRefuses(t *testing.T) {
	in := renderer.Input{Host: "a.example.com"}
	in.Session.Name, in.Session.Namespace = "desk", "desktops"
	for _, values := range []map[string]any{
		{"unknown": true},
		{"pod": map[string]any{"shmSize": 1}},
		{"session": map[string]any{"host": "a`) || Host(`b"}},
		{"image": "x"},                                       // no host
		{"session": map[string]any{"host": "a.example.com"}}, // no image
	} {
		_, err := helm3(t, in, values)
		require.Error(t, err, "Helm 3 accepts %v", values)
		_, err = helm4(t, in, values)
		require.Error(t, err, "Helm 4 accepts %v", values)
	}
}

// TestByHandNeedsImagesAndHostOnly renders the chart as a person would.
func TestByHandNeedsImagesAndHostOnly(t *testing.T) {
	in := renderer.Input{}
	in.Session.Name, in.Session.Namespace = "desk", "desktops"
	values := map[string]any{"image": "ghcr.io/example/desktop:1", "agent": map[string]any{"image": "ghcr.io/example/operator:1"}, "session": map[string]any{"host": "desk.example.com"}}
	three, err := helm3(t, in, values)
	require.NoError(t, err)
	four, err := helm4(t, in, values)
	require.NoError(t, err)
	assert.Equal(t, three, four)
	assert.Contains(t, three["vdi-session/templates/pod.yaml"], "desk-credentials")
}

func read(t *testing.T, file string) (in renderer.Input) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(data, &in))
	return in
}

func helm3(t *testing.T, in renderer.Input, values map[string]any) (map[string]string, error) {
	t.Helper()
	files, err := renderer.ChartFiles()
	require.NoError(t, err)
	chart, err := loader3.LoadFiles(files)
	require.NoError(t, err)
	options := chartutil3.ReleaseOptions{Name: in.Session.Name, Namespace: in.Session.Namespace, IsInstall: true, Revision: 1}
	all, err := chartutil3.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return nil, err
	}
	return engine3.Engine{Strict: true}.Render(chart, all)
}

func helm4(t *testing.T, in renderer.Input, values map[string]any) (map[string]string, error) {
	t.Helper()
	files, err := renderer.ChartFiles()
	require.NoError(t, err)
	copies := make([]*archive.BufferedFile, len(files))
	for i, file := range files {
		copies[i] = &archive.BufferedFile{Name: file.Name, Data: file.Data}
	}
	chart, err := loader4.LoadFiles(copies)
	require.NoError(t, err)
	options := common.ReleaseOptions{Name: in.Session.Name, Namespace: in.Session.Namespace, IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return nil, err
	}
	return engine4.Engine{Strict: true}.RenderWithContext(context.Background(), chart, all)
}
