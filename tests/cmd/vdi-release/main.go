// vdi-release judges what a release is made of; see package release.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vdi-platform/vdi-platform/tests/release"
)

const usage = `usage:
  vdi-release version CHARTS VERSION     give the charts of a folder a version
  vdi-release semver VERSION             refuse what is no version of a release
  vdi-release images RELEASE REPOSITORY  list all images, into images.txt and digests of a release's folder
  vdi-release push REGISTRY RELEASE      push the images and charts of a release's folder (PLAIN_HTTP=yes)
  vdi-release pin CHARTS DIGESTS         write digests into the charts of a folder
  vdi-release charts ARCHIVE…            refuse charts that name an image by its tag alone
  vdi-release bases DOCKERFILE NAME=IMAGE…  refuse base images that are named by their tag alone
  vdi-release workflows FILE…            refuse workflows that run actions by a tag
  vdi-release plugin BUILT REPOSITORY VERSION OUT  pack kubectl-vdi for all platforms, with krew's manifest
  vdi-release parts LIST PROGRAM…        refuse a list of parts that lacks one of the programs'
  vdi-release holes GOVULNCHECK FOLDER ARG…  look for known holes, where a database can be reached
  vdi-release provenance FILE            write an SLSA predicate for this run of the workflow`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("too few arguments\n" + usage)
	}
	command, args := args[0], args[1:]
	switch {
	case command == "version" && len(args) == 2:
		return release.SetVersion(args[0], args[1])
	case command == "semver" && len(args) == 1:
		return release.CheckVersion(args[0])
	case command == "images" && len(args) == 2:
		return images(args[0], args[1])
	case command == "push" && len(args) == 2:
		return push(ctx, args[0], args[1])
	case command == "pin" && len(args) == 2:
		return pin(args[0], args[1])
	case command == "charts":
		return release.CheckCharts(args...)
	case command == "bases":
		return bases(args[0], args[1:])
	case command == "workflows":
		return workflows(args)
	case command == "plugin" && len(args) == 4:
		return release.Plugin(args[0], args[1], args[2], args[3])
	case command == "parts":
		return parts(args[0], args[1:])
	case command == "holes" && len(args) > 1:
		s := release.Search{Govulncheck: args[0], Folder: args[1], Database: os.Getenv("GOVULNDB"), Say: os.Stdout}
		return s.Run(ctx, args[2:]...)
	case command == "provenance":
		return provenance(args[0])
	default:
		return errors.New("no such command\n" + usage)
	}
}

func pin(charts, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	digests, err := release.ReadDigests(string(text))
	if err != nil {
		return err
	}
	return release.Pin(charts, digests)
}

func bases(dockerfile string, args []string) error {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	given := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		given[name] = value
	}
	return release.CheckBases(string(text), given)
}

func workflows(files []string) error {
	var problems []error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = release.CheckWorkflow(string(text))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file, err))
		}
	}
	return errors.Join(problems...)
}

func parts(list string, programs []string) error {
	var problems []error
	for _, program := range programs {
		problems = append(problems, release.CheckList(list, program))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	fmt.Printf("%s names every part of %s\n", filepath.Base(list), strings.Join(programs, ", "))
	return nil
}

func provenance(file string) error {
	predicate, err := release.Provenance(os.Getenv, runtime.Version())
	if err != nil {
		return err
	}
	return os.WriteFile(file, predicate, 0o644)
}
