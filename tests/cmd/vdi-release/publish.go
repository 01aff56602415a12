package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/registry"
	"github.com/vdi-platform/vdi-platform/tests/release"
)

func images(folder, repository string) error {
	list, digests, err := release.List(folder, repository)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "digests"), []byte(digests), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "images.txt"), []byte(list.Text()), 0o644)
}

// push takes images first: a chart that can be found names images that can.
func push(ctx context.Context, to, folder string) error {
	r, err := registry.New(to, os.Getenv("PLAIN_HTTP") == "yes")
	if err != nil {
		return err
	}
	archives, err := release.In(folder, "images", "*.tar")
	if err != nil {
		return err
	}
	charts, err := release.In(folder, "charts", "*.tgz")
	if err != nil {
		return err
	}
	say := func(p registry.Pushed) { fmt.Println(p) }
	if err := r.PushImages(ctx, say, archives...); err != nil {
		return err
	}
	name, _, err := image.Named(archives[0])
	if err != nil {
		return err
	}
	beside := registry.ChartsBeside(name)
	if err := r.PushCharts(ctx, say, beside, charts...); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "\nInstall with: helm install … oci://%s/%s/NAME --version VERSION --set global.imageRegistry=%s\n", to, beside, to)
	return nil
}
