package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Archived is what an archive holds.
type Archived struct {
	Name   string // with its tag
	Digest v1.Hash
	// Content is a [v1.Image], or a [v1.ImageIndex] of one image per architecture.
	Content partial.Describable
}

// Open reads an archive that [WriteFile] wrote, by way of a folder, where its parts lie as
// long as they are used. It fails where a byte of them is not what it should be.
func Open(archive, folder string) (*Archived, error) {
	digest, err := Digest(archive)
	if err != nil {
		return nil, err
	}
	if err := unpack(archive, folder); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", archive, err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", archive, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", archive, err)
	}
	entry := manifest.Manifests[0] // Digest found one
	opened := &Archived{Name: entry.Annotations[ociRefName], Digest: digest}
	if opened.Name == "" {
		return nil, fmt.Errorf("the image in %s has no name", archive)
	}
	if entry.MediaType.IsIndex() {
		opened.Content, err = index.ImageIndex(digest)
	} else {
		opened.Content, err = index.Image(digest)
	}
	return opened, err
}

// unpack is for archives whose names Digest has looked at: none leads out of the folder.
func unpack(archive, folder string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	for files := tar.NewReader(file); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := writeTo(filepath.Join(folder, header.Name), files); err != nil {
			return err
		}
	}
}

func writeTo(path string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// Join makes one image of those for several architectures: whoever pulls it gets theirs.
func Join(images ...v1.Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	seen := map[string]bool{}
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("read image configuration: %w", err)
		}
		platform := config.Platform()
		if seen[platform.String()] {
			return nil, fmt.Errorf("join images: two are for %s", platform)
		}
		seen[platform.String()] = true
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	if len(seen) == 0 {
		return nil, errors.New("join images: none given")
	}
	return index, nil
}
