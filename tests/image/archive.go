package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Both annotations carry the full name: containerd reads the first, other
// tools the second.
const (
	containerdName = "io.containerd.image.name"
	ociRefName     = "org.opencontainers.image.ref.name"
)

// WriteFile writes an image, or one of several architectures (see [Join]), as an OCI
// archive named tag. The file appears under its name only when complete.
func WriteFile(file, tag string, content partial.Describable) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	unfinished, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	defer os.Remove(unfinished.Name())
	err = Write(unfinished, tag, content)
	if err := errors.Join(err, unfinished.Chmod(0o644), unfinished.Close()); err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	return os.Rename(unfinished.Name(), file)
}

// Write writes an image, or one of several architectures, as an OCI image layout in a tar.
func Write(w io.Writer, tag string, content partial.Describable) error {
	index, err := indexOf(tag, content)
	if err != nil {
		return err
	}
	a := &archive{tar: tar.NewWriter(w), seen: map[v1.Hash]bool{}}
	if err := a.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	if err := a.json("index.json", index); err != nil {
		return err
	}
	if err := a.content(content); err != nil {
		return err
	}
	return a.tar.Close()
}

func indexOf(tag string, content partial.Describable) (*v1.IndexManifest, error) {
	ref, err := name.NewTag(tag)
	if err != nil {
		return nil, fmt.Errorf("read image name: %w", err)
	}
	entry, err := partial.Descriptor(content)
	if err != nil {
		return nil, fmt.Errorf("describe image: %w", err)
	}
	entry.ArtifactType = "" // it is an image; the library says so twice
	if img, single := content.(v1.Image); single {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("read image configuration: %w", err)
		}
		entry.Platform = config.Platform()
	}
	full := fullName(ref)
	entry.Annotations = map[string]string{containerdName: full, ociRefName: full}
	return &v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     []v1.Descriptor{*entry},
	}, nil
}

// fullName is the name a kubelet looks for: for the default registry it is
// docker.io, where the library says index.docker.io.
func fullName(ref name.Tag) string {
	return strings.Replace(ref.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// archive writes a layout's files; seen keeps a blob from being written twice
// when two layers are equal.
type archive struct {
	tar  *tar.Writer
	seen map[v1.Hash]bool
}

func (a *archive) content(content partial.Describable) error {
	switch content := content.(type) {
	case v1.Image:
		return a.image(content)
	case v1.ImageIndex:
		return a.index(content)
	}
	return fmt.Errorf("write archive: %T is neither an image nor an index of images", content)
}

func (a *archive) index(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for _, entry := range manifest.Manifests {
		img, err := index.Image(entry.Digest)
		if err != nil {
			return fmt.Errorf("read image of index: %w", err)
		}
		if err := a.image(img); err != nil {
			return err
		}
	}
	return a.document(index.Digest, index.RawManifest)
}

func (a *archive) image(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	for _, layer := range layers {
		if err := a.layer(layer); err != nil {
			return err
		}
	}
	if err := a.document(img.ConfigName, img.RawConfigFile); err != nil {
		return err
	}
	return a.document(img.Digest, img.RawManifest)
}

func (a *archive) layer(layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return fmt.Errorf("digest layer: %w", err)
	}
	size, err := layer.Size()
	if err != nil {
		return fmt.Errorf("measure layer: %w", err)
	}
	content, err := layer.Compressed()
	if err != nil {
		return fmt.Errorf("read layer: %w", err)
	}
	defer content.Close()
	return a.blob(digest, size, content)
}

// document writes a configuration or a manifest under its digest.
func (a *archive) document(digestOf func() (v1.Hash, error), read func() ([]byte, error)) error {
	digest, err := digestOf()
	if err != nil {
		return fmt.Errorf("digest document: %w", err)
	}
	data, err := read()
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	return a.blob(digest, int64(len(data)), bytes.NewReader(data))
}

func (a *archive) blob(digest v1.Hash, size int64, content io.Reader) error {
	if a.seen[digest] {
		return nil
	}
	a.seen[digest] = true
	return a.file(path.Join("blobs", digest.Algorithm, digest.Hex), size, content)
}

func (a *archive) json(file string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	return a.file(file, int64(len(data)), bytes.NewReader(data))
}

func (a *archive) file(file string, size int64, content io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: file, Size: size, Mode: 0o644}
	if err := a.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if _, err := io.Copy(a.tar, content); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
