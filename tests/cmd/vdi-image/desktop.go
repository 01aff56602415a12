package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/images"
	"github.com/vdi-platform/vdi-platform/tests/progress"
)

const (
	suite         = "bookworm"
	pythonVersion = "3.11" // the suite's
	// bootstrapTakes is the time for the plain desktop.
	bootstrapTakes = 2 * time.Minute
)

func desktop(ctx context.Context, args []string) error {
	var tag, out, recipe string
	flags := flag.NewFlagSet("vdi-image desktop", flag.ContinueOnError)
	flags.StringVar(&tag, "tag", "", "name of the image, with its tag")
	flags.StringVar(&recipe, "recipe", images.Plain, "what the desktop is for: "+strings.Join(images.Recipes(), ", "))
	flags.StringVar(&out, "out", "", "archive to write (default bin/images/desktop.tar, or desktop-RECIPE.tar)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if tag == "" {
		return errors.New("desktop: --tag is required")
	}
	files, err := images.Recipe(recipe)
	if err != nil {
		return fmt.Errorf("desktop: --recipe: %w", err)
	}
	title := images.ImageOf(recipe)
	parts := partsOf(files)
	b := build{tag: tag, out: orDefault(out, title)}
	b.input(parts)
	return b.unlessCurrent(func() error {
		layers, err := parts.layers(ctx, filepath.Join(filepath.Dir(b.out), ".desktop"), "rootfs"+strings.TrimPrefix(title, "desktop")+".tar")
		if err != nil {
			return err
		}
		img, err := image.New(desktopConfig(title), layers...)
		if err != nil {
			return err
		}
		return b.write(img)
	})
}

func desktopConfig(title string) image.Config {
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
		Labels:     titled(title),
	}
}

// parts is all the desktop image is made of, apart from the packages' bytes.
type parts struct {
	Rootfs       image.Rootfs
	Requirements string
	Files        []image.File
}

// partsOf sorts a recipe's files.
func partsOf(files map[string][]byte) *parts {
	p := &parts{
		Rootfs: image.Rootfs{
			Suite:    suite,
			Packages: packagesOf(string(files[images.Packages])),
			StandIn:  string(files[images.StandIn]),
			User:     "ubuntu",
		},
		Requirements: string(files[images.Requirements]),
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch {
		case name == images.Packages, name == images.StandIn, name == images.Requirements:
		case strings.Contains(name, "/"):
			p.Files = append(p.Files, image.File{Path: "/" + name, Mode: 0o644, Data: files[name]})
		default:
			p.Files = append(p.Files, image.File{Path: "/usr/local/bin/" + name, Mode: 0o755, Data: files[name]})
		}
	}
	return p
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
func (p *parts) layers(ctx context.Context, cache, rootfsFile string) ([]v1.Layer, error) {
	rootfs, err := rootfsLayer(ctx, p.Rootfs, filepath.Join(cache, rootfsFile))
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
		return progress.Step(os.Stdout, "install Debian packages", bootstrapTakes, func(note func(string)) error {
			return image.Bootstrap(ctx, rootfs, file, note)
		})
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
