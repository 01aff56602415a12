package image_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

func TestBinariesRunAsNobodyInParticular(t *testing.T) {
	program := staticProgram(t, "vdi-operator")

	img, err := image.Binaries(image.Config{Cmd: []string{"--help"}}, program)

	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"/usr/local/bin/vdi-operator"}, config.Config.Entrypoint)
	require.Equal(t, "65532:65532", config.Config.User)
	got := contents(t, only(t, reread(t, archiveOf(t, img))))
	require.EqualValues(t, 0o755, got["usr/local/bin/vdi-operator"].Mode)
	require.Contains(t, got, "etc/passwd")
}

func TestBinariesMustBeStatic(t *testing.T) {
	_, err := image.Binaries(image.Config{}, program(t, "curl", 3 /* PT_INTERP */))
	require.ErrorContains(t, err, "CGO_ENABLED=0")
}

func TestBinariesNeedAtLeastOne(t *testing.T) {
	_, err := image.Binaries(image.Config{})
	require.ErrorContains(t, err, "none given")
}

func staticProgram(t *testing.T, name string) string {
	t.Helper()
	return program(t, name, 1 /* PT_LOAD */)
}

// program writes the smallest ELF file with one segment of the given type.
func program(t *testing.T, name string, segment byte) string {
	t.Helper()
	elf := make([]byte, 64+56)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[16], elf[18], elf[20] = 2, 62, 1   // executable, x86-64, version 1
	elf[32], elf[52], elf[54] = 64, 64, 56 // where the segments lie, header sizes
	elf[56] = 1                            // one segment
	elf[64] = segment
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, elf, 0o700))
	return file
}

// tarOf is a tar of one empty file with the given time.
func tarOf(t *testing.T, name string, seconds int64) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(seconds, 0)}))
	require.NoError(t, w.Close())
	return buffer.Bytes()
}
