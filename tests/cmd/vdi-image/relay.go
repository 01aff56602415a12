package main

import (
	"context"
	"errors"
	"flag"
	"path/filepath"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/images"
)

// relay packs Debian's coturn with the file capability that it has in the
// published image, which cannot be pulled everywhere.
func relay(ctx context.Context, args []string) error {
	var tag, out string
	flags := flag.NewFlagSet("vdi-image relay", flag.ContinueOnError)
	flags.StringVar(&tag, "tag", "", "name of the image, with its tag")
	flags.StringVar(&out, "out", "", "archive to write (default bin/images/relay.tar)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if tag == "" {
		return errors.New("relay: --tag is required")
	}
	packages := reader{folder: images.Relay()}
	rootfs := image.Rootfs{Suite: suite, Packages: packagesOf(packages.text("packages.txt")), LowPorts: "/usr/bin/turnserver"}
	if packages.err != nil {
		return packages.err
	}
	b := build{tag: tag, out: orDefault(out, "relay")}
	b.input(rootfs)
	b.input(relayConfig())
	return b.unlessCurrent(func() error {
		layer, err := rootfsLayer(ctx, rootfs, filepath.Join(filepath.Dir(b.out), ".relay", "rootfs.tar"))
		if err != nil {
			return err
		}
		img, err := image.New(relayConfig(), layer)
		if err != nil {
			return err
		}
		return b.write(img)
	})
}

// relayConfig runs as the user of the chart's pod.
func relayConfig() image.Config {
	return image.Config{
		Entrypoint: []string{"/usr/bin/turnserver"},
		Env:        map[string]string{"PATH": "/usr/bin:/bin"},
		User:       "65534:65534",
		Labels:     titled("relay"),
	}
}
