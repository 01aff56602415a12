package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// join puts images of one name and several architectures into one archive.
func join(args []string) error {
	var out string
	var archives list
	flags := flag.NewFlagSet("vdi-image join", flag.ContinueOnError)
	flags.StringVar(&out, "out", "", "archive to write")
	flags.Var(&archives, "archive", "archive of one image; repeated, one per architecture")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if out == "" || len(archives) == 0 {
		return errors.New("join: --out and --archive are required")
	}
	name, images, remove, err := openAll(archives)
	defer remove()
	if err != nil {
		return err
	}
	index, err := image.Join(images...)
	if err != nil {
		return err
	}
	if err := image.WriteFile(out, name, index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", name, digest)
	return nil
}

func openAll(archives []string) (name string, images []v1.Image, remove func(), err error) {
	folder, err := os.MkdirTemp("", "vdi-image-*")
	if err != nil {
		return "", nil, func() {}, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	for _, archive := range archives {
		below, err := os.MkdirTemp(folder, "*")
		if err != nil {
			return "", nil, remove, err
		}
		opened, err := image.Open(archive, below)
		if err != nil {
			return "", nil, remove, err
		}
		img, single := opened.Content.(v1.Image)
		if !single || (name != "" && name != opened.Name) {
			return "", nil, remove, fmt.Errorf("join: %s holds %s, want one image of the name that the others have (%s)", archive, opened.Name, name)
		}
		name, images = opened.Name, append(images, img)
	}
	return name, images, remove, nil
}
