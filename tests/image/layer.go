package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one entry of a layer. What it holds comes from Source when set, else
// from Data; a Mode with fs.ModeDir makes a folder and one with fs.ModeSymlink
// a link to Data.
type File struct {
	Path   string // absolute in the image
	Mode   fs.FileMode
	UID    int
	GID    int
	Data   []byte
	Source string // a file on this machine
}

// Speed over size: an archive is imported once, on the machine that built it.
var layerOptions = []tarball.LayerOption{
	tarball.WithCompressionLevel(gzip.BestSpeed),
	tarball.WithCompressedCaching,
	tarball.WithMediaType(types.OCILayer),
}

// FilesLayer packs files in path order, with zeroed times and the folders they
// need; a later file replaces an earlier one at the same path.
func FilesLayer(files ...File) (v1.Layer, error) {
	entries := withFolders(files)
	return layerOf("files", func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeTar(w, entries)) }()
		return r, nil
	})
}

// RootfsLayer takes an uncompressed root filesystem tar as it is. Its times
// stay: Python trusts a compiled file only when its source has the time it was
// compiled with.
func RootfsLayer(file string) (v1.Layer, error) {
	return layerOf(file, func() (io.ReadCloser, error) { return os.Open(file) })
}

func layerOf(what string, open tarball.Opener) (v1.Layer, error) {
	layer, err := tarball.LayerFromOpener(open, layerOptions...)
	if err != nil {
		return nil, fmt.Errorf("pack layer of %s: %w", what, err)
	}
	return layer, nil
}

// Tree lists what lies under dir on this machine as files under target in the
// image, all owned by root and readable by everybody.
func Tree(dir, target string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(dir, func(source string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := treeFile(source, entry)
		if err != nil {
			return err
		}
		file.Path = path.Join(target, strings.TrimPrefix(filepath.ToSlash(source), filepath.ToSlash(dir)))
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", dir, err)
	}
	return files, nil
}

func treeFile(source string, entry fs.DirEntry) (File, error) {
	switch {
	case entry.IsDir():
		return File{Mode: fs.ModeDir | 0o755}, nil
	case entry.Type() == fs.ModeSymlink:
		link, err := os.Readlink(source)
		return File{Mode: fs.ModeSymlink | 0o777, Data: []byte(link)}, err
	}
	info, err := entry.Info()
	if err != nil {
		return File{}, err
	}
	// The umask of whoever built the tree must not reach the image.
	return File{Mode: 0o644 | info.Mode()&0o111, Source: source}, nil
}

func withFolders(files []File) []File {
	byPath := map[string]File{}
	for _, file := range files {
		file.Path = path.Join("/", file.Path)
		byPath[file.Path] = file
	}
	for _, file := range files {
		for dir := path.Dir(path.Join("/", file.Path)); dir != "/"; dir = path.Dir(dir) {
			if _, ok := byPath[dir]; !ok {
				byPath[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	delete(byPath, "/")
	entries := make([]File, 0, len(byPath))
	for _, file := range byPath {
		entries = append(entries, file)
	}
	slices.SortFunc(entries, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return entries
}

func writeTar(w io.Writer, entries []File) error {
	archive := tar.NewWriter(w)
	for _, entry := range entries {
		if err := writeEntry(archive, entry); err != nil {
			return fmt.Errorf("pack %s: %w", entry.Path, err)
		}
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, entry File) error {
	content, size, err := entry.open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := archive.WriteHeader(entry.header(size)); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}

func (f File) header(size int64) *tar.Header {
	h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: unixMode(f.Mode), Uid: f.UID, Gid: f.GID}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(f.Data)
	default:
		h.Typeflag, h.Size = tar.TypeReg, size
	}
	return h
}

func (f File) open() (io.ReadCloser, int64, error) {
	switch {
	case !f.Mode.IsRegular():
		return io.NopCloser(bytes.NewReader(nil)), 0, nil
	case f.Source == "":
		return io.NopCloser(bytes.NewReader(f.Data)), int64(len(f.Data)), nil
	}
	source, err := os.Open(f.Source)
	if err != nil {
		return nil, 0, err
	}
	info, err := source.Stat()
	if err != nil {
		return nil, 0, err
	}
	return source, info.Size(), nil
}

// unixMode keeps the sticky bit that /tmp needs; set-id bits are dropped, as
// no image of this platform may gain privileges.
func unixMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
