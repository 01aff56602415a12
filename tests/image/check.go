package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Digest reads an archive that [WriteFile] wrote and returns the digest of its image. It
// fails where any part is missing or is not what its own digest says: one byte that was
// changed on the way is found, whichever it is.
func Digest(file string) (v1.Hash, error) {
	_, digest, err := Named(file)
	return digest, err
}

// Named is Digest, and the name that the archive gives its image.
func Named(file string) (string, v1.Hash, error) {
	archive, err := os.Open(file)
	if err != nil {
		return "", v1.Hash{}, fmt.Errorf("read archive: %w", err)
	}
	defer archive.Close()
	entry, err := entryOf(archive)
	if err != nil {
		return "", v1.Hash{}, fmt.Errorf("archive %s: %w", file, err)
	}
	return entry.Annotations[ociRefName], entry.Digest, nil
}

// Check fails unless an archive holds the image of that digest, and all of it.
func Check(file string, want v1.Hash) error {
	got, err := Digest(file)
	if err == nil && got != want {
		err = fmt.Errorf("archive %s holds image %s, want %s: build it again, or find out who changed it", file, got, want)
	}
	return err
}

// documentsAtMost bounds what is kept of an archive: manifests and indexes are small.
const documentsAtMost = 4 << 20

// contents are the parts of an archive whose digests are true, small ones with their bytes.
type contents struct {
	blobs map[v1.Hash][]byte
	index []byte
}

func entryOf(archive io.Reader) (entry v1.Descriptor, err error) {
	parts, err := read(archive)
	if err != nil {
		return entry, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(parts.index, &index); err != nil || len(index.Manifests) != 1 {
		return entry, fmt.Errorf("index.json names %d images, want 1 (%w)", len(index.Manifests), err)
	}
	return index.Manifests[0], parts.complete(index.Manifests[0])
}

// complete fails where something is missing of what an image is made of, or of any image
// of an index.
func (c *contents) complete(entry v1.Descriptor) error {
	if entry.MediaType.IsIndex() {
		var index v1.IndexManifest
		if err := json.Unmarshal(c.blobs[entry.Digest], &index); err != nil || len(index.Manifests) == 0 {
			return fmt.Errorf("index %s names %d images, want 1 or more (%w)", entry.Digest, len(index.Manifests), err)
		}
		for _, image := range index.Manifests {
			if err := c.complete(image); err != nil {
				return err
			}
		}
		return nil
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(c.blobs[entry.Digest], &manifest); err != nil {
		return fmt.Errorf("manifest %s: %w", entry.Digest, err)
	}
	for _, part := range append(manifest.Layers, manifest.Config) {
		if _, found := c.blobs[part.Digest]; !found {
			return fmt.Errorf("%s is missing", part.Digest)
		}
	}
	return nil
}

func read(archive io.Reader) (*contents, error) {
	all := &contents{blobs: map[v1.Hash][]byte{}}
	for files := tar.NewReader(archive); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		sum, kept := sha256.New(), &limited{most: documentsAtMost}
		if _, err := io.Copy(io.MultiWriter(sum, kept), files); err != nil {
			return nil, fmt.Errorf("read %s: %w", header.Name, err)
		}
		is := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
		switch header.Name {
		case "oci-layout":
		case "index.json":
			all.index = kept.bytes
		case path.Join("blobs", is.Algorithm, is.Hex):
			all.blobs[is] = kept.bytes
		default:
			return nil, fmt.Errorf("%s holds %s", header.Name, is)
		}
	}
}

// limited keeps what it is given, or nothing where that is too much.
type limited struct {
	bytes []byte
	most  int
}

func (l *limited) Write(more []byte) (int, error) {
	if l.most -= len(more); l.most < 0 {
		l.bytes = nil
	} else {
		l.bytes = append(l.bytes, more...)
	}
	return len(more), nil
}
