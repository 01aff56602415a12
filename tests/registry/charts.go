package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"helm.sh/helm/v3/pkg/chart/loader"
	helm "helm.sh/helm/v3/pkg/registry"
)

// ChartsBeside is the folder for charts, below the registry, that belongs to an image:
// vdi-platform/charts for ghcr.io/vdi-platform/vdi-operator.
func ChartsBeside(image string) string {
	return path.Join(path.Dir(host.ReplaceAllString(image, "")), "charts")
}

// PushCharts pushes packaged charts into a folder of the registry as `helm push` does, reports
// each, and stops at the first that fails.
func (r *Registry) PushCharts(ctx context.Context, report func(Pushed), folder string, archives ...string) error {
	options := []helm.ClientOption{helm.ClientOptWriter(io.Discard)}
	if r.plain {
		options = append(options, helm.ClientOptPlainHTTP())
	}
	client, err := helm.NewClient(options...)
	if err != nil {
		return fmt.Errorf("push charts: %w", err)
	}
	for _, archive := range archives {
		pushed, err := r.pushChart(ctx, client, folder, archive)
		if err != nil {
			return fmt.Errorf("push %s: %w", archive, err)
		}
		report(pushed)
	}
	return nil
}

func (r *Registry) pushChart(ctx context.Context, client *helm.Client, folder, archive string) (pushed Pushed, err error) {
	data, err := os.ReadFile(archive)
	if err != nil {
		return pushed, err
	}
	c, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		return pushed, err
	}
	packaged, err := packagedAt(data)
	if err != nil {
		return pushed, err
	}
	// A tag has no plus sign: Helm writes another, at pushes and pulls.
	chart := fmt.Sprintf("%s/%s/%s", r.prefix, folder, c.Name())
	pushed.Name = chart + ":" + strings.ReplaceAll(c.Metadata.Version, "+", "_")
	tag, err := name.NewTag(pushed.Name, r.options...)
	if err != nil {
		return pushed, err
	}
	if pushed.Before, err = r.digestOf(ctx, tag); err != nil {
		return pushed, err
	}
	// The time of the push would give the same chart another digest each time.
	result, err := client.Push(data, chart+":"+c.Metadata.Version, helm.PushOptCreationTime(packaged.Format(time.RFC3339)))
	if err != nil {
		return pushed, err
	}
	pushed.Digest = result.Manifest.Digest
	return pushed, nil
}

// packagedAt is the newest time of a file in a packaged chart.
func packagedAt(archive []byte) (newest time.Time, err error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return newest, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return newest.UTC(), nil
		}
		if err != nil {
			return newest, err
		}
		if header.ModTime.After(newest) {
			newest = header.ModTime
		}
	}
}
