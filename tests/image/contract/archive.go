package contract

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// howToGetOne is what a person reads who gave something else than an archive.
const howToGetOne = `give an archive of one image: "skopeo copy docker://IMAGE oci-archive:image.tar", "docker save -o image.tar IMAGE", "crane pull IMAGE image.tar" or "vdi-image desktop" writes one`

// Read reads the image for a platform from an archive that anybody wrote: an OCI layout in a
// tar, or one of "docker save". Its parts lie in the folder as long as they are used.
func Read(archive, folder string, platform v1.Platform) (v1.Image, error) {
	isLayout, err := unpack(archive, folder)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; %s", archive, err, howToGetOne)
	}
	if !isLayout {
		img, err := tarball.ImageFromPath(archive, nil)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w; %s", archive, err, howToGetOne)
		}
		return img, nil
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", archive, err)
	}
	found, others, err := imagesOf(index, platform)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", archive, err)
	case len(found) > 1:
		return nil, fmt.Errorf("%s holds %d images; %s", archive, len(found), howToGetOne)
	case len(found) == 0 && len(others) > 0:
		return others[0], nil // its architecture is judged
	case len(found) == 0:
		return nil, fmt.Errorf("%s holds no image; %s", archive, howToGetOne)
	}
	return found[0], nil
}

// imagesOf are the images of an index for the platform, and those for others. What is no
// image, such as a statement on how one was built, is left out.
func imagesOf(index v1.ImageIndex, platform v1.Platform) (found, others []v1.Image, err error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range manifest.Manifests {
		switch {
		case entry.MediaType.IsIndex():
			below, err := index.ImageIndex(entry.Digest)
			if err != nil {
				return nil, nil, err
			}
			more, rest, err := imagesOf(below, platform)
			if err != nil {
				return nil, nil, err
			}
			found, others = append(found, more...), append(others, rest...)
		case entry.MediaType.IsImage():
			img, err := index.Image(entry.Digest)
			if err != nil {
				return nil, nil, err
			}
			config, err := img.ConfigFile()
			switch {
			case err != nil:
				return nil, nil, err
			case config.OS == platform.OS && config.Architecture == platform.Architecture:
				found = append(found, img)
			case config.OS != "" && config.OS != "unknown":
				others = append(others, img)
			}
		}
	}
	return found, others, nil
}

// unpack writes the files of a tar into a folder, and nowhere else, and reports whether they
// are an OCI layout.
func unpack(archive, folder string) (isLayout bool, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return false, err
	}
	defer file.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, err
	}
	defer root.Close()
	any := false
	for files := tar.NewReader(file); ; any = true {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF) && any:
			return isLayout, nil
		case errors.Is(err, io.EOF):
			return false, errors.New("it is empty")
		case err != nil:
			return false, err
		}
		name := path.Clean(header.Name)
		if header.Typeflag != tar.TypeReg || name != "index.json" && name != "oci-layout" && !strings.HasPrefix(name, "blobs/") {
			continue
		}
		isLayout = isLayout || name == "index.json"
		if err := write(root, filepath.FromSlash(name), files); err != nil {
			return false, err
		}
	}
}

func write(root *os.Root, name string, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// accounts is what an image says of users: its /etc/passwd, from the highest layer that has
// one; nil where there is none.
func accounts(img v1.Image) ([]byte, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for i := len(layers) - 1; i >= 0; i-- {
		content, ends, err := passwdIn(layers[i])
		if err != nil || ends {
			return content, err
		}
	}
	return nil, nil
}

// passwdIn reads the file from a layer; ends reports whether lower layers no longer count.
func passwdIn(layer v1.Layer) (content []byte, ends bool, err error) {
	reader, err := layer.Uncompressed()
	if err != nil {
		return nil, false, err
	}
	defer reader.Close()
	for files := tar.NewReader(reader); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, false, nil
		case err != nil:
			return nil, false, err
		}
		switch path.Join("/", header.Name) {
		case "/etc/passwd":
			content, err := io.ReadAll(io.LimitReader(files, 1<<20))
			return content, true, err
		case "/etc/.wh.passwd", "/etc/.wh..wh..opq", "/.wh.etc", "/.wh..wh..opq":
			ends = true
		}
		if ends {
			return nil, true, nil
		}
	}
}
