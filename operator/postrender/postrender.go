// Package postrender is the program vdi-postrender: it applies a site's settings to
// the YAML that Helm renders of any chart, between Helm and the cluster.
//
// It must not read the cluster, nor import Helm, whose versions 3 and 4 run it
// alike. What is rendered of a session is no business of it: package renderer
// applies the platform's settings there.
package postrender

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// ErrSite means that the site's settings or rules refuse an object, or make no sense.
var ErrSite = errors.New("refused by the site's rules")

// Options are the program's flags, and where it reads and writes.
type Options struct {
	// Settings is the path of the site's settings (Site as YAML).
	Settings string
	// Digests is the path of a file with lines of an image and its digest; may be empty.
	Digests string
	// In is what Helm rendered, Out takes the result.
	In  io.Reader
	Out io.Writer
}

// Register declares the flags.
func (o *Options) Register(f *flag.FlagSet) {
	f.StringVar(&o.Settings, "settings", "", "file with the site's settings (YAML)")
	f.StringVar(&o.Digests, "digests", "", "file with lines of an image and its digest")
}

// Run applies the settings to one stream of YAML.
func Run(_ context.Context, o Options) error {
	site, err := readSite(o.Settings, o.Digests)
	if err != nil {
		return err
	}
	rendered, err := io.ReadAll(o.In)
	if err != nil {
		return fmt.Errorf("read what Helm rendered: %w", err)
	}
	result, err := site.render(rendered)
	if err != nil {
		return err
	}
	_, err = o.Out.Write(result)
	return err
}
