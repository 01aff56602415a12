package image_test

import (
	"archive/tar"
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// everything builds all programs, the second time without a cache; 'make test-long' does.
var everything = flag.Bool("everything", false, "build the whole image, and nothing of it from the cache")

// TestReproducible: two builds of the operator's image in two folders give the same
// bytes, on whatever machine: nothing of it is taken from the one that builds.
func TestReproducible(t *testing.T) {
	var archives [2][]byte
	for i, folder := range []string{"here", "some where else"} {
		top := filepath.Join(t.TempDir(), folder)
		for _, part := range []string{"go.mod", "go.sum", "charts", "operator", "platform", "renderer"} {
			copied(t, filepath.Join("..", "..", part), filepath.Join(top, part))
		}
		cache := ""
		if *everything && i == 1 {
			cache = t.TempDir()
		}
		img, err := image.Binaries(image.Config{}, buildIn(t, top, cache)...)
		require.NoError(t, err)
		archives[i] = archiveOf(t, img)
	}
	require.True(t, bytes.Equal(archives[0], archives[1]), "two builds differ")
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	if info, err := os.Stat(from); err == nil && !info.IsDir() {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, data, 0o600))
		return
	}
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

// buildIn builds the image's programs as the Makefile does.
func buildIn(t *testing.T, top, cache string) (programs []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	require.NoError(t, err)
	flags := regexp.MustCompile(`(?m)^GO_FLAGS := (.*) -ldflags "(.*)"$`).FindSubmatch(text)
	require.NotNil(t, flags, "the Makefile has no GO_FLAGS")
	names := []string{"vdi-agent"}
	if *everything {
		names = []string{"vdi-operator", "vdi-agent", "vdi-frontdoor", "vdi-turn-secret"}
	}
	for _, name := range names {
		program := filepath.Join(top, "bin", name)
		build := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-ldflags", string(flags[2]), "-o", program}, strings.Fields(string(flags[1]))...), "./operator/cmd/"+name)...)
		build.Dir = top
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if cache != "" {
			build.Env = append(build.Env, "GOCACHE="+cache)
		}
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		programs = append(programs, program)
	}
	return programs
}

// TestCheckFindsEveryByte: whichever byte of an image's parts changes, it is noticed.
func TestCheckFindsEveryByte(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, image.WriteFile(file, tag, sample(t)))
	want, err := sample(t).Digest()
	require.NoError(t, err)
	require.NoError(t, image.Check(file, want))
	require.ErrorContains(t, image.Check(file, v1.Hash{Algorithm: "sha256", Hex: "0"}), "build it again, or find out who changed it")

	good, err := os.ReadFile(file)
	require.NoError(t, err)
	tried := 0
	each(t, bytes.NewReader(good), func(h *tar.Header, content io.Reader) {
		data, err := io.ReadAll(content)
		require.NoError(t, err)
		at := bytes.Index(good, data)
		for i := 0; strings.HasPrefix(h.Name, "blobs/") && i < len(data); i += 3 {
			bad := bytes.Clone(good)
			bad[at+i] ^= 1
			require.NoError(t, os.WriteFile(file, bad, 0o600))
			require.ErrorContains(t, image.Check(file, want), h.Name+" holds sha256:", "byte %d", i)
			tried++
		}
	})
	require.Greater(t, tried, 100)
}
