package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// forMachine is a program for the ELF machine.
func forMachine(t *testing.T, machine byte) string {
	t.Helper()
	file := staticProgram(t, "vdi-operator")
	elf, err := os.ReadFile(file)
	require.NoError(t, err)
	elf[18] = machine
	require.NoError(t, os.WriteFile(file, elf, 0o700))
	return file
}

const (
	amd64 = 62
	arm64 = 183
)

func imageFor(t *testing.T, machine byte) v1.Image {
	t.Helper()
	img, err := image.Binaries(image.Config{}, forMachine(t, machine))
	require.NoError(t, err)
	return img
}

// TestJoin: an archive of two architectures is written, checked and read again.
func TestJoin(t *testing.T) {
	index, err := image.Join(imageFor(t, amd64), imageFor(t, arm64))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "both.tar")
	require.NoError(t, image.WriteFile(file, tag, index))
	want, err := index.Digest()
	require.NoError(t, err)
	require.NoError(t, image.Check(file, want))

	opened, err := image.Open(file, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, tag, opened.Name)
	require.Equal(t, want, opened.Digest)
	again := opened.Content.(v1.ImageIndex)
	require.NoError(t, validate.Index(again))
	manifest, err := again.IndexManifest()
	require.NoError(t, err)
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, platforms)
	var first, second bytes.Buffer
	require.NoError(t, image.Write(&first, tag, index))
	require.NoError(t, image.Write(&second, tag, again))
	require.True(t, bytes.Equal(first.Bytes(), second.Bytes()), "the same bytes, whichever way it came")
}

// TestJoinedIsComplete: an index whose second image is not there is noticed.
func TestJoinedIsComplete(t *testing.T) {
	index, err := image.Join(imageFor(t, amd64), imageFor(t, arm64))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "half.tar")
	require.NoError(t, image.WriteFile(file, tag, half{whole: index}))
	_, err = image.Digest(file)
	require.ErrorContains(t, err, "manifest sha256:")
}

// half is an index that hands out its first image alone.
type half struct{ whole }

type whole = v1.ImageIndex

func (h half) Image(v1.Hash) (v1.Image, error) {
	manifest, err := h.IndexManifest()
	if err != nil {
		return nil, err
	}
	return h.whole.Image(manifest.Manifests[0].Digest)
}

func TestJoinRefuses(t *testing.T) {
	_, err := image.Join(imageFor(t, amd64), imageFor(t, amd64))
	require.EqualError(t, err, "join images: two are for linux/amd64")
	_, err = image.Join()
	require.EqualError(t, err, "join images: none given")
}

// TestArchitecture: an image is for what its programs are for.
func TestArchitecture(t *testing.T) {
	_, err := image.Binaries(image.Config{}, forMachine(t, amd64), forMachine(t, arm64))
	require.ErrorContains(t, err, "is for arm64, others are for amd64")
	_, err = image.Binaries(image.Config{}, forMachine(t, 8))
	require.ErrorContains(t, err, "EM_MIPS, which no image is made for")
}

func TestOpenedIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "one.tar")
	require.NoError(t, image.WriteFile(file, tag, sample(t)))
	opened, err := image.Open(file, t.TempDir())
	require.NoError(t, err)
	require.NoError(t, validate.Image(opened.Content.(v1.Image)))

	data, err := os.ReadFile(file)
	require.NoError(t, err)
	at := bytes.Index(data, []byte("blobs/")) + 512 + 1 // within the first part
	data[at] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
	_, err = image.Open(file, t.TempDir())
	require.ErrorContains(t, err, "holds sha256:")
}
