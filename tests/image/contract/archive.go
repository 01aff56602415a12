package contract

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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
	all := &imagesOf{platform: platform}
	switch err := all.collect(index); {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", archive, err)
	case len(all.found) > 1:
		return nil, fmt.Errorf("%s holds %d images; %s", archive, len(all.found), howToGetOne)
	case len(all.found) == 1:
		return all.found[0], nil
	case len(all.others) > 0:
		return all.others[0], nil // its architecture is judged
	case all.absent > 0:
		return nil, fmt.Errorf("%s names %d images and holds none of them whole; %s", archive, all.absent, howToGetOne)
	}
	return nil, fmt.Errorf("%s holds no image; %s", archive, howToGetOne)
}

// imagesOf sorts the images of an index: those for the platform, those for others, and the
// number of those that are named only. Docker's and containerd's archives of one platform keep
// the index of all platforms. What is no image, such as a statement on how one was built, is
// left out.
type imagesOf struct {
	platform      v1.Platform
	found, others []v1.Image
	absent        int
}

func (all *imagesOf) collect(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, entry := range manifest.Manifests {
		switch {
		case entry.MediaType.IsIndex():
			var below v1.ImageIndex
			if below, err = index.ImageIndex(entry.Digest); err == nil {
				err = all.collect(below)
			}
		case entry.MediaType.IsImage():
			err = all.add(index, entry.Digest)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			all.absent++
		case err != nil:
			return err
		}
	}
	return nil
}

func (all *imagesOf) add(index v1.ImageIndex, digest v1.Hash) error {
	img, err := index.Image(digest)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil || config.OS == "" || config.OS == "unknown" {
		return err
	}
	if err := isWhole(img); err != nil {
		return err
	}
	if config.OS == all.platform.OS && config.Architecture == all.platform.Architecture {
		all.found = append(all.found, img)
	} else {
		all.others = append(all.others, img)
	}
	return nil
}

// isWhole opens each layer; the error of one that is not there is fs.ErrNotExist.
func isWhole(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		if err := content.Close(); err != nil {
			return err
		}
	}
	return nil
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

const passwd = "/etc/passwd"

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
	content, target, hidden, err := fileIn(layer, passwd)
	if err == nil && target != "" { // a hard link, whose file is in the same layer
		content, _, _, err = fileIn(layer, target)
	}
	return content, hidden || content != nil, err
}

// fileIn reads a whole layer for a file: its content, the target where it is a hard link, and
// whether the layer hides the file of lower layers. Whiteouts hide nothing of their own layer,
// wherever they stand in it (OCI image specification, layer.md).
func fileIn(layer v1.Layer, name string) (content []byte, target string, hidden bool, err error) {
	reader, err := layer.Uncompressed()
	if err != nil {
		return nil, "", false, err
	}
	defer reader.Close()
	hiding := whiteoutsOf(name)
	for files := tar.NewReader(reader); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return content, target, hidden, nil
		case err != nil:
			return nil, "", false, err
		}
		at := path.Join("/", header.Name)
		hidden = hidden || slices.Contains(hiding, at)
		switch {
		case at != name:
		case header.Typeflag == tar.TypeLink:
			content, target = nil, path.Join("/", header.Linkname)
		default:
			target = ""
			if content, err = io.ReadAll(io.LimitReader(files, 1<<20)); err != nil {
				return nil, "", false, err
			}
		}
	}
}

// whiteoutsOf are the names that hide a file of lower layers: of itself, of a folder above it,
// and of all that such a folder held.
func whiteoutsOf(name string) (hiding []string) {
	for at := name; at != "/"; at = path.Dir(at) {
		hiding = append(hiding, path.Join(path.Dir(at), ".wh."+path.Base(at)), path.Join(path.Dir(at), ".wh..wh..opq"))
	}
	return hiding
}
