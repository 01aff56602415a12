package main

import (
	"errors"
	"flag"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

func verify(args []string) error {
	var archive, digest string
	flags := flag.NewFlagSet("vdi-image verify", flag.ContinueOnError)
	flags.StringVar(&archive, "archive", "", "archive to read")
	flags.StringVar(&digest, "digest", "", "what its image must be; empty: only that all of it is there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if archive == "" {
		return errors.New("verify: --archive is required")
	}
	got, err := image.Digest(archive)
	if err != nil {
		return err
	}
	if digest != "" {
		want, err := v1.NewHash(digest)
		if err != nil {
			return fmt.Errorf("verify: --digest: %w", err)
		}
		if err := image.Check(archive, want); err != nil {
			return err
		}
	}
	fmt.Println(got)
	return nil
}
