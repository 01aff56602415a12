package main

import (
	"errors"
	"flag"
	"path/filepath"
	"strings"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func binary(args []string) error {
	var tag, out, entrypoint string
	var programs, cmd list
	flags := flag.NewFlagSet("vdi-image binary", flag.ContinueOnError)
	flags.StringVar(&tag, "tag", "", "name of the image, with its tag")
	flags.StringVar(&out, "out", "", "archive to write (default bin/images/NAME.tar after the first program)")
	flags.StringVar(&entrypoint, "entrypoint", "", "program to start (default the first one)")
	flags.Var(&programs, "binary", "static program to put into /usr/local/bin; may be repeated")
	flags.Var(&cmd, "cmd", "default argument of the entry point; may be repeated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if tag == "" || len(programs) == 0 {
		return errors.New("binary: --tag and --binary are required")
	}
	b := build{tag: tag, out: orDefault(out, filepath.Base(programs[0]))}
	config := image.Config{Cmd: cmd, Labels: titled(filepath.Base(programs[0]))}
	if entrypoint != "" {
		config.Entrypoint = []string{entrypoint}
	}
	b.input(config)
	if err := b.inputFiles(programs...); err != nil {
		return err
	}
	return b.unlessCurrent(func() error {
		img, err := image.Binaries(config, programs...)
		if err != nil {
			return err
		}
		return b.write(img)
	})
}

func titled(title string) map[string]string {
	return map[string]string{"org.opencontainers.image.title": title}
}
