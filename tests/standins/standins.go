// Package standins puts the umbrella chart together where no chart repository
// can be reached: our own charts as they are, and for each third-party chart a
// small chart of the same name and version that takes the value keys we set.
// The stand-in for Traefik runs the real Traefik; the one for the GPU Operator
// leaves the device plugin to the local cluster.
//
// It is for tests and local clusters; nothing that is shipped may depend on it.
package standins

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed all:traefik all:gpu-operator
var charts embed.FS

// traefikModule brings Traefik's CRDs; its version is pinned by tests/tools/traefik.
const (
	traefikModule = "github.com/traefik/traefik/v3"

	// BuiltTraefik is the tag of the image with the Traefik that is built here.
	BuiltTraefik = "dev"
	traefikCRDs  = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
)

// Assemble copies the umbrella chart with all its dependencies below dir and
// returns the path of the copy, which the plain helm command line accepts.
func Assemble(ctx context.Context, dir string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	umbrella := filepath.Join(dir, "vdi-platform")
	err = errors.Join(
		copyChart(filepath.Join(root, "charts", "vdi-platform"), umbrella),
		copyChart(filepath.Join(root, "charts", "vdi-operator"), filepath.Join(umbrella, "charts", "vdi-operator")),
		copyChart(filepath.Join(root, "charts", "coturn"), filepath.Join(umbrella, "charts", "coturn")),
		addStandIn("gpu-operator", filepath.Join(umbrella, "charts", "gpu-operator")),
		addTraefik(ctx, root, filepath.Join(umbrella, "charts", "traefik")),
		useBuiltTraefik(filepath.Join(umbrella, "values.yaml")),
	)
	if err != nil {
		return "", fmt.Errorf("assemble the umbrella chart in %s: %w", dir, err)
	}
	return umbrella, nil
}

// RepositoryRoot is the nearest folder above the working directory that holds
// the umbrella chart.
func RepositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "charts", "vdi-platform", "Chart.yaml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no folder above the working directory holds charts/vdi-platform")
		}
		dir = parent
	}
}

func copyChart(from, to string) error {
	chart := os.DirFS(from)
	return fs.WalkDir(chart, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == "charts": // what an earlier `helm dependency build` left there
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		default:
			return copyFile(chart, path, filepath.Join(to, path))
		}
	})
}

func copyFile(from fs.FS, path, to string) error {
	data, err := fs.ReadFile(from, path)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

func addStandIn(name, to string) error {
	chart, err := fs.Sub(charts, name)
	if err != nil {
		return err
	}
	if err := os.CopyFS(to, chart); err != nil {
		return fmt.Errorf("copy the stand-in for %s: %w", name, err)
	}
	return nil
}

func addTraefik(ctx context.Context, root, to string) error {
	if err := addStandIn("traefik", to); err != nil {
		return err
	}
	module, err := ModuleFolder(ctx, filepath.Join(root, "tests", "tools", "traefik"), traefikModule)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, "crds"), 0o755); err != nil {
		return err
	}
	return copyFile(os.DirFS(module), traefikCRDs, filepath.Join(to, "crds", "traefik.yaml"))
}

// pinnedTraefik is the version that the umbrella names, in its values.
var pinnedTraefik = regexp.MustCompile(`(?m)^(traefik:[^\n]*\n(?:[ ]{2,}[^\n]*\n)*?[ ]{2}image:\n(?:[ ]{4}#[^\n]*\n)*[ ]{4}tag: )\S+$`)

// useBuiltTraefik lets the copy of the umbrella run the Traefik that is built here
// instead of the one that it names.
func useBuiltTraefik(values string) error {
	text, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	if !pinnedTraefik.Match(text) {
		return fmt.Errorf("%s: no traefik.image.tag to replace", values)
	}
	return os.WriteFile(values, pinnedTraefik.ReplaceAll(text, []byte("${1}"+BuiltTraefik)), 0o644)
}

// ModuleFolder is where the module cache keeps a module in the version that the
// module in folder toolModule pins. It is fetched when it is not there yet.
func ModuleFolder(ctx context.Context, toolModule, path string) (string, error) {
	if _, err := goCommand(ctx, toolModule, "mod", "download", path); err != nil {
		return "", err
	}
	return goCommand(ctx, toolModule, "list", "-m", "-f", "{{.Dir}}", path)
}

func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off")
	out, err := command.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("go %s in %s: %w", strings.Join(args, " "), dir, err)
	}
	return strings.TrimSpace(string(out)), nil
}
