// Package image writes OCI archives for the local cluster without a container
// engine. It turns files and root filesystems into layers and layers into one
// tar that `ctr image import` accepts. The same input gives the same bytes, so
// an archive's digest says whether anything changed.
//
// It pulls nothing from a registry and runs nothing it packs.
package image

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Config is what a container started from the image gets when its pod says
// nothing else.
type Config struct {
	Entrypoint []string
	Cmd        []string
	Env        map[string]string
	User       string // "uid" or "uid:gid", numeric: runAsNonRoot cannot check names
	WorkingDir string
	Ports      []string // "8080/tcp"
	Labels     map[string]string
	// Architecture of the programs, in Go's words. Empty: this machine's.
	Architecture string `json:",omitempty"`
}

// New stacks the layers, lowest first, under the configuration.
func New(config Config, layers ...v1.Layer) (v1.Image, error) {
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return nil, fmt.Errorf("append layers: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", cmp.Or(config.Architecture, runtime.GOARCH)
	file.Config = config.oci()
	return mutate.ConfigFile(img, file)
}

func (c Config) oci() v1.Config {
	ports := map[string]struct{}{}
	for _, port := range c.Ports {
		ports[port] = struct{}{}
	}
	return v1.Config{
		Entrypoint:   c.Entrypoint,
		Cmd:          c.Cmd,
		Env:          environment(c.Env),
		User:         c.User,
		WorkingDir:   c.WorkingDir,
		ExposedPorts: ports,
		Labels:       c.Labels,
	}
}

// environment sorts the variables: a map's order would change the digest.
func environment(vars map[string]string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}
