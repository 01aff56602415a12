package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/registry"
)

// delivery is how images get to nodes.
type delivery string

const (
	byLoading  delivery = "load"   // into the node of a local cluster
	byRegistry delivery = "push"   // into a registry that the nodes pull from
	byOthers   delivery = "others" // whoever started this has done it
)

// deliveryOf chooses by what a person with a cluster says in the environment: REGISTRY, where
// it pulls from, or IMAGES=loaded. A local cluster needs neither.
func deliveryOf(existing bool, getenv func(string) string) delivery {
	switch {
	case existing && getenv("REGISTRY") != "":
		return byRegistry
	case existing && getenv("IMAGES") == "loaded":
		return byOthers
	}
	return byLoading
}

// noWay is what a person reads whose cluster cannot be given images from here.
const noWay = `images cannot be put into an existing cluster from here. They are built; either

  push them into a registry that its nodes pull from:
    REGISTRY=registry.example.com/vdi %[1]s

  or load them into its nodes and go on. With kind:
    for image in %[2]s; do kind load image-archive $image; done
    IMAGES=loaded %[1]s`

// deliver brings the images to where the cluster's nodes find them.
func (p *Platform) deliver(ctx context.Context) error {
	archives := make([]string, len(p.images))
	for i, image := range p.images {
		archives[i] = filepath.Join(p.root, image.Archive)
	}
	switch {
	case p.delivery == byRegistry:
		say := func(pushed registry.Pushed) { fmt.Fprintln(p.out, pushed) }
		return p.registry.PushImages(ctx, say, archives...)
	case p.delivery == byOthers:
		fmt.Fprintln(p.out, "IMAGES=loaded: the nodes have them")
		return nil
	case p.Cluster.Existing():
		return fmt.Errorf(noWay, "VDI_CLUSTER=existing make demo", strings.Join(archives, " "))
	}
	for _, archive := range archives {
		if err := p.Cluster.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// decideDelivery reads the environment.
func (p *Platform) decideDelivery() (err error) {
	p.delivery = deliveryOf(p.Cluster.Existing(), os.Getenv)
	if p.delivery != byRegistry {
		return nil
	}
	prefix := os.Getenv("REGISTRY")
	if p.registry, err = registry.New(prefix, os.Getenv("PLAIN_HTTP") == "yes"); err != nil {
		return fmt.Errorf("REGISTRY: %w", err)
	}
	p.values = append(p.values, "--set", "global.imageRegistry="+prefix)
	return nil
}
