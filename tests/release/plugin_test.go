package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/release"
)

// Each platform has its archive, and krew's manifest the sums of just these.
func TestPlugin(t *testing.T) {
	built := t.TempDir()
	made := strings.Fields(regexp.MustCompile(`(?m)^PLUGIN_PLATFORMS := (.*)$`).FindStringSubmatch(read(t, "Makefile"))[1])
	require.Len(t, made, 5)
	for _, platform := range made {
		name := "kubectl-vdi"
		if strings.HasPrefix(platform, "windows") {
			name += ".exe"
		}
		require.NoError(t, os.MkdirAll(filepath.Join(built, platform), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(built, platform, name), []byte("the program for "+platform), 0o755))
	}
	out, again := t.TempDir(), t.TempDir()
	require.NoError(t, release.Plugin(built, top, "1.2.3", out))
	require.NoError(t, release.Plugin(built, top, "1.2.3", again))

	var manifest struct {
		Spec struct {
			Version          string
			ShortDescription string
			Platforms        []struct {
				Selector         struct{ MatchLabels struct{ OS, Arch string } }
				URI, Sha256, Bin string
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "vdi.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &manifest))
	assert.Equal(t, "v1.2.3", manifest.Spec.Version)
	assert.LessOrEqual(t, len(manifest.Spec.ShortDescription), 50, "krew's bound")
	require.Len(t, manifest.Spec.Platforms, len(made))
	for _, p := range manifest.Spec.Platforms {
		platform := p.Selector.MatchLabels.OS + "-" + p.Selector.MatchLabels.Arch
		require.Contains(t, made, platform)
		name := "kubectl-vdi_1.2.3_" + strings.ReplaceAll(platform, "-", "_") + ".tar.gz"
		assert.True(t, strings.HasSuffix(p.URI, "/releases/download/v1.2.3/"+name), p.URI)
		archive, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(archive)), p.Sha256)
		twin, err := os.ReadFile(filepath.Join(again, name))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(archive, twin), "%s is reproducible", name)
		files := unpacked(t, archive)
		assert.Equal(t, "the program for "+platform, files[p.Bin])
		assert.Contains(t, files["LICENSE"], "Apache License")
		assert.Equal(t, p.Selector.MatchLabels.OS != "windows", strings.HasPrefix(files["kubectl_complete-vdi"], "#!/bin/sh"), platform)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(built, made[0])))
	assert.ErrorContains(t, release.Plugin(built, top, "1.2.3", t.TempDir()), "pack kubectl-vdi for ")
}

func unpacked(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	files := map[string]string{}
	for in := tar.NewReader(unzipped); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		text, err := io.ReadAll(in)
		require.NoError(t, err)
		files[header.Name] = string(text)
	}
}
