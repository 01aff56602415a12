// Package upgrade shows a release's life with the real Helm clients on a real
// node: install, upgrade, rollback, uninstall and reinstall, while desktops run.
// It has a cluster of its own, because it takes the platform away.
package upgrade

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/postrender"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// world is the cluster and what the tests run against it.
type world struct {
	*install.Platform
	root   string
	post   postrender.Built
	dir    string   // for values, charts and backups
	proxy  []string // helm's flags with values for the proxy's chart
	values []string // the same for the operator's
}

var w world

func TestMain(m *testing.M) {
	code, err := runWithCluster(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "upgrade tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runWithCluster(m *testing.M) (code int, err error) {
	ctx := context.Background()
	const name = "upgrade"
	c, err := cluster.Up(ctx, cluster.Options{Name: name, DieWithParent: true, Progress: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() {
		if err := cluster.Down(ctx, name); err != nil {
			fmt.Fprintln(os.Stderr, "take the cluster down:", err)
		}
	}()
	if w.dir, err = os.MkdirTemp("", "vdi-upgrade-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(w.dir)
	if err := w.prepare(ctx, c); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// prepare installs the proxy by itself: the tests take the operator away, and
// desktops stay reachable.
func (w *world) prepare(ctx context.Context, c *cluster.Cluster) (err error) {
	images := slices.DeleteFunc(install.Images(), func(i install.Image) bool { return filepath.Base(i.Archive) == "desktop.tar" })
	if w.Platform, err = install.Prepare(ctx, c, os.Stderr, append(images, install.RelayImage())...); err != nil {
		return err
	}
	if err := cluster.BuildTools(ctx, os.Stderr, "helm4", "ct"); err != nil {
		return err
	}
	if w.root, err = standins.RepositoryRoot(); err != nil {
		return err
	}
	if w.post, err = postrender.Build(ctx, filepath.Join(w.dir, "plugins")); err != nil {
		return err
	}
	umbrella, err := standins.Assemble(ctx, w.dir)
	if err != nil {
		return err
	}
	if err := w.splitValues(); err != nil {
		return err
	}
	args := []string{"install", "proxy", filepath.Join(umbrella, "charts", "traefik"), "-n", install.Namespace, "--wait", "--timeout", "3m"}
	out, err := w.try(ctx, "helm", append(args, w.proxy...)...)
	if err != nil {
		return fmt.Errorf("install the proxy: %w\n%s", err, out)
	}
	return w.tlsStore(ctx)
}

// splitValues gives each chart its part of what the umbrella would.
func (w *world) splitValues() error {
	defaults, err := w.read("charts", "vdi-platform", "values.yaml")
	if err != nil {
		return err
	}
	local, err := w.read("values", "local.yaml")
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		chart string
		files *[]string
	}{{"traefik", "proxy", &w.proxy}, {"vdi-operator", "operator", &w.values}} {
		for i, layer := range []map[string]any{defaults, local} {
			file, err := w.write(fmt.Sprintf("%s-%d.yaml", part.chart, i), layer[part.name])
			if err != nil {
				return err
			}
			*part.files = append(*part.files, "-f", file)
		}
	}
	w.proxy = append(w.proxy, "--set", "image.tag="+standins.BuiltTraefik)
	w.values = append(w.values, "--set", "fullnameOverride=vdi-operator", "--set", "access.mode=Password,portal.namespace=") // which the release before knows
	return nil
}

func (w *world) read(path ...string) (values map[string]any, err error) {
	text, err := os.ReadFile(filepath.Join(append([]string{w.root}, path...)...))
	if err != nil {
		return nil, err
	}
	return values, yaml.Unmarshal(text, &values)
}

func (w *world) write(name string, content any) (string, error) {
	text, err := yaml.Marshal(content)
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.dir, name)
	return file, os.WriteFile(file, text, 0o600)
}

// try runs a program of bin/ against the cluster.
func (w *world) try(ctx context.Context, program string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(w.root, "bin", program), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+w.Cluster.KubeconfigPath())
	command.Env = append(command.Env, w.post.Environment(program)...)
	out, err := command.CombinedOutput()
	return string(out), err
}
