package release_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/release"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// releaseOf is a folder as 'make release' fills it, of these charts.
func releaseOf(t *testing.T, charts ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"vdi-operator", "desktop"} {
		require.NoError(t, image.WriteFile(filepath.Join(folder, "images", name+".tar"), "ghcr.io/vdi-platform/"+name+":0.1.0", single(t)))
	}
	for _, source := range charts {
		c, err := loader.Load(source)
		require.NoError(t, err)
		_, err = chartutil.Save(c, filepath.Join(folder, "charts"))
		require.NoError(t, err)
	}
	return folder
}

func single(t *testing.T) v1.Image {
	t.Helper()
	img, err := image.New(image.Config{})
	require.NoError(t, err)
	return img
}

// TestImagesOfPlatform: the umbrella names all, also the parts of the ClusterPolicy, and
// what is switched off there is not copied in vain.
func TestImagesOfPlatform(t *testing.T) {
	umbrella, err := standins.Assemble(t.Context(), t.TempDir())
	require.NoError(t, err)
	list, digests, err := release.List(releaseOf(t, umbrella), top)
	require.NoError(t, err)
	require.Equal(t, []string{"ghcr.io/vdi-platform/desktop:0.1.0", "ghcr.io/vdi-platform/vdi-operator:0.1.0"}, list.Ours)
	require.Equal(t, []string{"docker.io/coturn/coturn:4.17.0-r0", "docker.io/vdi-platform/page:dev", "docker.io/vdi-platform/traefik:dev"}, list.Others, "of the relay, and of the stand-ins for the GPU Operator and Traefik")
	require.Equal(t, []string{
		"docker.io/kasmweb/ubuntu-noble-desktop:1.18.0", "ghcr.io/linuxserver/baseimage-selkies:debiantrixie", "ghcr.io/linuxserver/webtop:debian-xfce",
		"ghcr.io/selkies-project/nvidia-egl-desktop:24.04", "ghcr.io/selkies-project/selkies/example:v2.1.0-trixie",
	}, list.Desktops)
	require.Empty(t, list.NotListed)
	require.Regexp(t, `^desktop sha256:[a-f0-9]{64}\nvdi-operator sha256:[a-f0-9]{64}\n$`, digests)

	var images []string
	for line := range strings.Lines(list.Text()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			images = append(images, line)
		}
	}
	require.Equal(t, append(append(append([]string{}, list.Ours...), list.Desktops...), list.Others...), images)
	require.Equal(t, []string{"ghcr.io/vdi-platform/desktop-blender:0.1.0", "ghcr.io/vdi-platform/desktop-developer:0.1.0", "ghcr.io/vdi-platform/desktop-kiosk:0.1.0"}, list.OnDemand)
	for _, image := range list.OnDemand {
		require.Contains(t, list.Text(), "# NOT IN THIS RELEASE: "+image)
	}
}

// TestImagesNotListed: without the umbrella it is said whose images are missing.
func TestImagesNotListed(t *testing.T) {
	folder := releaseOf(t, filepath.Join(top, "charts", "vdi-operator"), filepath.Join(top, "charts", "coturn"))
	list, _, err := release.List(folder, top)
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/coturn/coturn:4.17.0-r0"}, list.Others)
	require.Equal(t, []string{"gpu-operator v26.7.0", "traefik 41.3.0"}, list.NotListed)
	require.Contains(t, list.Text(), "# NOT LISTED: the images of traefik 41.3.0, whose chart was not there.\n")
	_, _, err = release.List(t.TempDir(), top)
	require.ErrorContains(t, err, "no file is ")
}

// TestImagesOfPolicy: the parts of NVIDIA's ClusterPolicy name images in three keys.
func TestImagesOfPolicy(t *testing.T) {
	c := &chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: "policy", Version: "1.0.0"}}
	c.Templates = []*chart.File{{Name: "templates/policy.yaml", Data: []byte(`
spec:
  driver: {enabled: true, repository: nvcr.io/nvidia, image: driver, version: "595.91.07", manager: {repository: nvcr.io/nvidia/cloud-native, image: k8s-driver-manager, version: v0.12.0}}
  toolkit: {repository: nvcr.io/nvidia/k8s, image: container-toolkit, version: "sha256:0"}
  gds: {enabled: false, repository: nvcr.io/nvidia/cloud-native, image: nvidia-fs, version: "2.29.4"}
---
spec: {template: {spec: {containers: [{image: a/b:1}], initContainers: [{image: a/c:1}]}}}
`)}}
	archive, err := chartutil.Save(c, t.TempDir())
	require.NoError(t, err)
	list, err := release.ImagesOf([]string{"a/c:1"}, []string{archive}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"a/b:1", "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.12.0", "nvcr.io/nvidia/driver:595.91.07", "nvcr.io/nvidia/k8s/container-toolkit@sha256:0",
	}, list.Others)

	c.Templates[0].Data = []byte("kind: ConfigMap\n")
	archive, err = chartutil.Save(c, t.TempDir())
	require.NoError(t, err)
	_, err = release.ImagesOf(nil, []string{archive}, nil)
	require.ErrorContains(t, err, "it names none")
}

// TestSetVersion: all our charts and programs get the version, others' keep theirs, and the
// umbrella's lock still fits.
func TestSetVersion(t *testing.T) {
	charts := t.TempDir()
	require.NoError(t, os.CopyFS(charts, os.DirFS(filepath.Join(top, "charts"))))
	require.NoError(t, release.SetVersion(charts, "2.3.4-rc.1"))
	for name, appVersion := range map[string]string{"vdi-operator": "2.3.4-rc.1", "vdi-platform": "2.3.4-rc.1", "vdi-session": "2.3.4-rc.1", "coturn": "4.17.0-r0"} {
		meta, err := chartutil.LoadChartfile(filepath.Join(charts, name, "Chart.yaml"))
		require.NoError(t, err)
		require.Equal(t, "2.3.4-rc.1", meta.Version, name)
		require.Equal(t, appVersion, meta.AppVersion, name)
	}
	operator, err := chartutil.LoadChartfile(filepath.Join(charts, "vdi-operator", "Chart.yaml"))
	require.NoError(t, err)
	require.Contains(t, operator.Annotations["artifacthub.io/images"], "vdi-operator:2.3.4-rc.1\n")

	umbrella, err := chartutil.LoadChartfile(filepath.Join(charts, "vdi-platform", "Chart.yaml"))
	require.NoError(t, err)
	var lock chart.Lock
	text, err := os.ReadFile(filepath.Join(charts, "vdi-platform", "Chart.lock"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &lock))
	for i, dependency := range umbrella.Dependencies {
		want := map[string]string{"gpu-operator": "v26.7.0", "traefik": "41.3.0"}[dependency.Name]
		if want == "" {
			want = "2.3.4-rc.1"
		}
		require.Equal(t, want, dependency.Version)
		require.Equal(t, want, lock.Dependencies[i].Version)
	}
	require.ErrorContains(t, release.SetVersion(t.TempDir(), "1.0.0"), "holds no charts")
}

// TestSameVersion: set to the version that they have, the charts say the same as before;
// so does the lock, whose digest is helm's own.
func TestSameVersion(t *testing.T) {
	charts := t.TempDir()
	require.NoError(t, os.CopyFS(charts, os.DirFS(filepath.Join(top, "charts"))))
	require.NoError(t, release.SetVersion(charts, "0.1.0"))
	for _, file := range []string{"vdi-operator/Chart.yaml", "vdi-platform/Chart.yaml", "vdi-platform/Chart.lock", "vdi-session/Chart.yaml", "coturn/Chart.yaml"} {
		after, err := os.ReadFile(filepath.Join(charts, file))
		require.NoError(t, err)
		require.YAMLEq(t, read(t, "charts", file), string(after), file)
	}
}
