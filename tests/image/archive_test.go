package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

const tag = "example.test/vdi/desktop:1"

func TestArchiveIsValid(t *testing.T) {
	index := reread(t, archiveOf(t, sample(t)))

	require.NoError(t, validate.Index(index))
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 1)
	require.Equal(t, map[string]string{
		"io.containerd.image.name":          tag,
		"org.opencontainers.image.ref.name": tag,
	}, manifest.Manifests[0].Annotations)
	require.Equal(t, "linux", manifest.Manifests[0].Platform.OS)
}

func TestArchiveKeepsConfiguration(t *testing.T) {
	config, err := only(t, reread(t, archiveOf(t, sample(t)))).ConfigFile()

	require.NoError(t, err)
	require.Equal(t, v1.Config{
		Entrypoint:   []string{"/usr/local/bin/start"},
		Cmd:          []string{"--port=8080"},
		Env:          []string{"A=1", "B=2"},
		User:         "1000:1000",
		WorkingDir:   "/home/ubuntu",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels:       map[string]string{"org.opencontainers.image.title": "desktop"},
	}, config.Config)
}

func TestSameInputGivesSameBytes(t *testing.T) {
	first, second := archiveOf(t, sample(t)), archiveOf(t, sample(t))

	require.True(t, bytes.Equal(first, second))
}

func TestEqualLayersAreWrittenOnce(t *testing.T) {
	layer := filesLayer(t, image.File{Path: "/a", Mode: 0o644, Data: []byte("a")})
	img, err := image.New(image.Config{}, layer, layer)
	require.NoError(t, err)

	require.NoError(t, validate.Index(reread(t, archiveOf(t, img))))
}

func TestShortNamesAreThoseTheKubeletLooksFor(t *testing.T) {
	for given, full := range map[string]string{
		"vdi-platform/page:dev":           "docker.io/vdi-platform/page:dev",
		"docker.io/vdi-platform/page:dev": "docker.io/vdi-platform/page:dev",
		"registry.example.com/page:dev":   "registry.example.com/page:dev",
	} {
		var out bytes.Buffer
		require.NoError(t, image.Write(&out, given, sample(t)))
		require.Contains(t, out.String(), `"io.containerd.image.name":"`+full+`"`)
	}
}

func TestArchiveNeedsAName(t *testing.T) {
	require.ErrorContains(t, image.Write(io.Discard, "no spaces:please", sample(t)), "read image name")
}

func TestRootfsLayerKeepsTimes(t *testing.T) {
	rootfs := filepath.Join(t.TempDir(), "rootfs.tar")
	require.NoError(t, os.WriteFile(rootfs, tarOf(t, "etc/debian_version", 1234567890), 0o600))
	layer, err := image.RootfsLayer(rootfs)
	require.NoError(t, err)
	img, err := image.New(image.Config{}, layer)
	require.NoError(t, err)

	header := contents(t, only(t, reread(t, archiveOf(t, img))))["etc/debian_version"]

	require.EqualValues(t, 1234567890, header.ModTime.Unix())
}

func TestFilesGetFoldersOwnersAndModes(t *testing.T) {
	img, err := image.New(image.Config{}, filesLayer(t,
		image.File{Path: "/opt/tool/bin/run", Mode: fs.ModeSetuid | 0o755, Data: []byte("#!")},
		image.File{Path: "/opt/tool/latest", Mode: fs.ModeSymlink | 0o777, Data: []byte("bin/run")},
		image.File{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		image.File{Path: "/home/ubuntu", Mode: fs.ModeDir | 0o700, UID: 1000, GID: 1000},
	))
	require.NoError(t, err)

	got := contents(t, only(t, reread(t, archiveOf(t, img))))

	require.Contains(t, got, "opt/tool/bin")
	require.EqualValues(t, 0o755, got["opt/tool/bin/run"].Mode, "set-id bits are dropped")
	require.Equal(t, "bin/run", got["opt/tool/latest"].Linkname)
	require.EqualValues(t, 0o1777, got["tmp"].Mode)
	require.Equal(t, 1000, got["home/ubuntu"].Uid)
	require.Zero(t, got["opt"].ModTime.Unix())
}

func TestTreeIgnoresTheUmask(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "pkg"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pkg", "run"), nil, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pkg", "data"), nil, 0o600))

	files, err := image.Tree(dir, "/opt")

	require.NoError(t, err)
	modes := map[string]fs.FileMode{}
	for _, file := range files {
		modes[file.Path] = file.Mode
	}
	require.Equal(t, map[string]fs.FileMode{
		"/opt":          fs.ModeDir | 0o755,
		"/opt/pkg":      fs.ModeDir | 0o755,
		"/opt/pkg/run":  0o744,
		"/opt/pkg/data": 0o644,
	}, modes)
}

func sample(t *testing.T) v1.Image {
	t.Helper()
	img, err := image.New(image.Config{
		Entrypoint: []string{"/usr/local/bin/start"},
		Cmd:        []string{"--port=8080"},
		Env:        map[string]string{"B": "2", "A": "1"},
		User:       "1000:1000",
		WorkingDir: "/home/ubuntu",
		Ports:      []string{"8080/tcp"},
		Labels:     map[string]string{"org.opencontainers.image.title": "desktop"},
	}, filesLayer(t,
		image.File{Path: "/usr/local/bin/start", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
		image.File{Path: "/etc/passwd", Mode: 0o644, Data: []byte("ubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n")},
	))
	require.NoError(t, err)
	return img
}

func filesLayer(t *testing.T, files ...image.File) v1.Layer {
	t.Helper()
	layer, err := image.FilesLayer(files...)
	require.NoError(t, err)
	return layer
}

func archiveOf(t *testing.T, img v1.Image) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out", "image.tar")
	require.NoError(t, image.WriteFile(file, tag, img))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return data
}

// reread unpacks the archive as an importer would and opens the layout.
func reread(t *testing.T, archive []byte) v1.ImageIndex {
	t.Helper()
	dir := t.TempDir()
	each(t, bytes.NewReader(archive), func(h *tar.Header, content io.Reader) {
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		require.NoFileExists(t, file, "written twice")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		data, err := io.ReadAll(content)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, data, 0o600))
	})
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	return index
}

func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	img, err := index.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	return img
}

func contents(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	headers := map[string]*tar.Header{}
	each(t, mutate.Extract(img), func(h *tar.Header, _ io.Reader) { headers[h.Name] = h })
	return headers
}

func each(t *testing.T, r io.Reader, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		visit(header, archive)
	}
}
