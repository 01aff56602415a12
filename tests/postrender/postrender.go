// Package postrender builds the post-renderer program the way its two users
// want it: a program for Helm 3, a plugin folder for Helm 4.
package postrender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// Name of the program and of the plugin.
const Name = "vdi-postrender"

// Built is where the post-renderer lies.
type Built struct {
	// Program for Helm 3's --post-renderer.
	Program string
	// Plugins is a folder for Helm 4's environment variable HELM_PLUGINS.
	Plugins string
}

// Build makes both below dir, as `make build` does below bin/.
func Build(ctx context.Context, dir string) (Built, error) {
	root, err := standins.RepositoryRoot()
	if err != nil {
		return Built{}, err
	}
	plugin := filepath.Join(dir, Name)
	built := Built{Program: filepath.Join(plugin, Name), Plugins: dir}
	source := filepath.Join("operator", "cmd", Name)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built.Program, "./"+source)
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return Built{}, fmt.Errorf("build %s: %w\n%s", Name, err, out)
	}
	manifest, err := os.ReadFile(filepath.Join(root, source, "plugin.yaml"))
	return built, errors.Join(err, os.WriteFile(filepath.Join(plugin, "plugin.yaml"), manifest, 0o600))
}

// Arguments are helm's, of version 3 or 4, for settings in a file.
func (b Built) Arguments(helm, settings string) []string {
	program := b.Program
	if helm == "helm4" {
		program = Name
	}
	return []string{"--post-renderer", program, "--post-renderer-args", "--settings=" + settings}
}

// Environment is what helm needs beside the arguments. Helm 3 does not know the
// new kind of plugin and must not find it.
func (b Built) Environment(helm string) []string {
	if helm == "helm4" {
		return []string{"HELM_PLUGINS=" + b.Plugins}
	}
	return nil
}
