package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

const (
	suite         = "bookworm"
	pythonVersion = "3.11" // the suite's
)

// placed says where the files of the desktop folder go in the image.
var placed = []struct {
	name   string
	target string
	mode   fs.FileMode
}{
	{"start", "/usr/local/bin/start", 0o755},
	{"selkies", "/usr/local/bin/selkies", 0o755},
	{"etc/jwm/system.jwmrc", "/etc/jwm/system.jwmrc", 0o644},
	{"etc/X11/desktop.resources", "/etc/X11/desktop.resources", 0o644},
}

func desktop(ctx context.Context, args []string) error {
	var tag, out string
	flags := flag.NewFlagSet("vdi-image desktop", flag.ContinueOnError)
	flags.StringVar(&tag, "tag", "", "name of the image, with its tag")
	flags.StringVar(&out, "out", "", "archive to write (default bin/images/desktop.tar)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if tag == "" {
		return errors.New("desktop: --tag is required")
	}
	parts, err := readDesktop(images.Desktop())
	if err != nil {
		return err
	}
	b := build{tag: tag, out: orDefault(out, "desktop")}
	b.input(parts)
	return b.unlessCurrent(func() error {
		layers, err := parts.layers(ctx, filepath.Join(filepath.Dir(b.out), ".desktop"))
		if err != nil {
			return err
		}
		img, err := image.New(desktopConfig(), layers...)
		if err != nil {
			return err
		}
		return b.write(img)
	})
}

func desktopConfig() image.Config {
	return image.Config{
		Entrypoint: []string{"/usr/local/bin/start"},
		Env: map[string]string{
			"HOME": "/home/ubuntu",
			"LANG": "C.UTF-8",
			"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
		},
		User:       "1000:1000",
		WorkingDir: "/home/ubuntu",
		Ports:      []string{"8080/tcp"},
		Labels:     titled("desktop"),
	}
}

// parts is all the desktop image is made of, apart from the packages' bytes.
type parts struct {
	Rootfs       image.Rootfs
	Requirements string
	Files        []image.File
}

func readDesktop(folder fs.FS) (*parts, error) {
	read := reader{folder: folder}
	p := &parts{
		Rootfs: image.Rootfs{
			Suite:    suite,
			Packages: packagesOf(read.text("packages.txt")),
			StandIn:  read.text("stand-in.control"),
			User:     "ubuntu",
		},
		Requirements: read.text("requirements.txt"),
	}
	for _, file := range placed {
		p.Files = append(p.Files, image.File{Path: file.target, Mode: file.mode, Data: []byte(read.text(file.name))})
	}
	return p, read.err
}

// reader keeps the first error of many reads.
type reader struct {
	folder fs.FS
	err    error
}

func (r *reader) text(name string) string {
	data, err := fs.ReadFile(r.folder, path.Clean(name))
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("read what the image is made of: %w", err)
	}
	return string(data)
}

func packagesOf(text string) []string {
	var packages []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		packages = append(packages, strings.Fields(line)...)
	}
	return packages
}

// layers keeps what takes minutes in the cache folder, so that a changed
// script costs seconds.
func (p *parts) layers(ctx context.Context, cache string) ([]v1.Layer, error) {
	rootfs, err := rootfsLayer(ctx, p.Rootfs, filepath.Join(cache, "rootfs.tar"))
	if err != nil {
		return nil, err
	}
	python, err := p.pythonLayer(ctx, filepath.Join(cache, "python"))
	if err != nil {
		return nil, err
	}
	own, err := image.FilesLayer(p.Files...)
	if err != nil {
		return nil, err
	}
	return []v1.Layer{rootfs, python, own}, nil
}

func rootfsLayer(ctx context.Context, rootfs image.Rootfs, file string) (layer v1.Layer, err error) {
	err = once(file, rootfs.Recipe(), func() error {
		return timed("install Debian packages", func() error { return image.Bootstrap(ctx, rootfs, file) })
	})
	if err != nil {
		return nil, err
	}
	err = timed("pack root filesystem", func() error {
		layer, err = image.RootfsLayer(file)
		return err
	})
	return layer, err
}

func (p *parts) pythonLayer(ctx context.Context, dir string) (layer v1.Layer, err error) {
	err = once(dir, []string{p.Requirements, pythonVersion}, func() error {
		return timed("install Python packages", func() error {
			return image.PipInstall(ctx, p.Requirements, pythonVersion, dir)
		})
	})
	if err != nil {
		return nil, err
	}
	err = timed("pack Python packages", func() error {
		files, err := image.Tree(dir, "/opt/selkies")
		if err != nil {
			return err
		}
		layer, err = image.FilesLayer(files...)
		return err
	})
	return layer, err
}
