package registry_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/registry"
	"github.com/vdi-platform/vdi-platform/tests/registry/local"
)

const (
	public   = "ghcr.io/vdi-platform/desktop:1"
	password = "not a secret"
)

// running is a registry that lets one person in, whose login Docker's configuration holds.
func running(t *testing.T) string {
	t.Helper()
	r, err := local.Start(t.Context(), local.Options{User: "alice", Password: password})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Stop()) })
	config := t.TempDir()
	text, err := json.Marshal(map[string]any{"auths": map[string]any{r.Address: map[string]any{"username": "alice", "password": password}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(config, "config.json"), text, 0o600))
	t.Setenv("DOCKER_CONFIG", config)
	t.Setenv("HELM_REGISTRY_CONFIG", filepath.Join(config, "config.json"))
	return r.Address + "/team"
}

// sample is an image of one file.
func sample(t *testing.T, architecture, content string) v1.Image {
	t.Helper()
	layer, err := image.FilesLayer(image.File{Path: "/" + architecture, Mode: 0o644, Data: []byte(content)})
	require.NoError(t, err)
	img, err := image.New(image.Config{Architecture: architecture}, layer)
	require.NoError(t, err)
	return img
}

func archived(t *testing.T, content string) (file string, digest v1.Hash) {
	t.Helper()
	both, err := image.Join(sample(t, "amd64", content), sample(t, "arm64", content))
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "desktop.tar")
	require.NoError(t, image.WriteFile(file, public, both))
	digest, err = both.Digest()
	require.NoError(t, err)
	return file, digest
}

// TestPushImages: what is pulled by the new name is what the archive holds, for both
// architectures; a second push changes nothing, and another content is reported.
func TestPushImages(t *testing.T) {
	base := running(t)
	r, err := registry.New(base, false)
	require.NoError(t, err)
	push := func(archive string) (lines []string) {
		require.NoError(t, r.PushImages(t.Context(), func(p registry.Pushed) { lines = append(lines, p.String()) }, archive))
		return lines
	}
	first, digest := archived(t, "one")
	want := base + "/vdi-platform/desktop:1"
	require.Equal(t, []string{want + "@" + digest.String()}, push(first))
	require.Equal(t, []string{want + "@" + digest.String() + " was there already"}, push(first))

	ref, err := name.ParseReference(want)
	require.NoError(t, err)
	pulled, err := remote.Index(ref, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	require.NoError(t, err)
	require.NoError(t, validate.Index(pulled), "every byte of both")
	got, err := pulled.Digest()
	require.NoError(t, err)
	require.Equal(t, digest, got)

	second, other := archived(t, "two")
	require.Equal(t, []string{want + "@" + other.String() + ", which was " + digest.String() + " before"}, push(second))
}

// TestPushSingle: an archive of one architecture is an image, not an index.
func TestPushSingle(t *testing.T) {
	base := running(t)
	r, err := registry.New(base, false)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "one.tar")
	img := sample(t, "amd64", "one")
	require.NoError(t, image.WriteFile(file, public, img))
	require.NoError(t, r.PushImages(t.Context(), func(registry.Pushed) {}, file))
	ref, err := name.ParseReference(base + "/vdi-platform/desktop:1")
	require.NoError(t, err)
	pulled, err := remote.Image(ref, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	require.NoError(t, err)
	require.NoError(t, validate.Image(pulled))
}

// TestPushCharts: both helms pull the chart that was pushed, byte for byte, and a second
// push is the same to the registry.
func TestPushCharts(t *testing.T) {
	base := running(t)
	r, err := registry.New(base, false)
	require.NoError(t, err)
	require.NoError(t, cluster.BuildTools(t.Context(), os.Stderr, "helm", "helm4"))
	bin, err := cluster.BinDir()
	require.NoError(t, err)
	dir := t.TempDir()
	helm := func(program string, args ...string) {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	helm("helm", "package", filepath.Join("..", "..", "charts", "coturn"), "--destination", dir)
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	require.NoError(t, err)
	require.Len(t, archives, 1)

	var pushed []registry.Pushed
	for range 2 {
		require.NoError(t, r.PushCharts(t.Context(), func(p registry.Pushed) { pushed = append(pushed, p) }, registry.ChartsBeside(public), archives[0]))
	}
	require.Equal(t, base+"/vdi-platform/charts/coturn:0.1.0", pushed[0].Name)
	require.Empty(t, pushed[0].Before)
	require.Equal(t, pushed[0].Digest, pushed[1].Before)
	require.Equal(t, pushed[0].Digest, pushed[1].Digest)

	want, err := os.ReadFile(archives[0])
	require.NoError(t, err)
	for _, program := range []string{"helm", "helm4"} {
		to := t.TempDir()
		helm(program, "pull", "oci://"+base+"/vdi-platform/charts/coturn", "--version", "0.1.0", "--plain-http", "--destination", to)
		got, err := os.ReadFile(filepath.Join(to, filepath.Base(archives[0])))
		require.NoError(t, err)
		require.Equal(t, want, got, program)
	}
}

// TestPushRefused: without the login the registry's answer is shown, and nothing is pushed.
func TestPushRefused(t *testing.T) {
	base := running(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r, err := registry.New(base, false)
	require.NoError(t, err)
	file, _ := archived(t, "one")
	err = r.PushImages(t.Context(), func(registry.Pushed) { t.Error("pushed") }, file)
	require.ErrorContains(t, err, "401")
}

// TestNameOf: as the charts do it, see tests/charts.
func TestNameOf(t *testing.T) {
	r, err := registry.New("registry.example.com/vdi", false)
	require.NoError(t, err)
	for image, want := range map[string]string{
		"ghcr.io/vdi-platform/desktop:1": "registry.example.com/vdi/vdi-platform/desktop:1",
		"docker.io/traefik:v3.7.12":      "registry.example.com/vdi/traefik:v3.7.12",
		"registry.k8s.io/nfd/x@sha256:0": "registry.example.com/vdi/nfd/x@sha256:0",
		"localhost/desktop":              "registry.example.com/vdi/desktop",
		"vdi-platform/desktop":           "registry.example.com/vdi/vdi-platform/desktop",
	} {
		require.Equal(t, want, r.NameOf(image))
	}
}

func TestRegistryRefuses(t *testing.T) {
	for _, prefix := range []string{"", "https://registry.example.com", "registry.example.com/", "registry.example.com/UPPER", "team"} {
		_, err := registry.New(prefix, false)
		require.ErrorContains(t, err, "want HOST[:PORT][/PATH]", prefix)
	}
}
