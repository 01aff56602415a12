package postrender

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vdi-platform/vdi-platform/tests/standins"
)

const settings = `
labels: {cost-center: "42"}
annotations: {example.com/owner: desktops}
images:
  rewrite: {docker.io: registry.example.com/docker.io, ghcr.io: registry.example.com/ghcr.io}
nodeSelector: {pool: infra}
`

// world is the program, the charts and both helms.
type world struct {
	Built
	root     string
	umbrella string
	dir      string
}

var w world

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/postrender:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if w.dir, err = os.MkdirTemp("", "vdi-postrender-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(w.dir)
	if w.root, err = standins.RepositoryRoot(); err != nil {
		return 1, err
	}
	if w.umbrella, err = standins.Assemble(ctx, w.dir); err != nil {
		return 1, err
	}
	if w.Built, err = Build(ctx, filepath.Join(w.dir, "plugins")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func (w world) file(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(w.dir, name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// template renders the umbrella with what an air-gapped site says.
func (w world) template(t *testing.T, helm string, more ...string) (string, error) {
	t.Helper()
	args := append([]string{
		"template", "vdi", w.umbrella, "-n", "vdi-system", "--kube-version", "1.37.2",
		"-f", filepath.Join(w.root, "values", "local.yaml"), "--set", "vdi-operator.templates.page.image=a",
	}, more...)
	command := exec.CommandContext(t.Context(), filepath.Join(w.root, "bin", helm), args...)
	command.Env = append(os.Environ(), w.Environment(helm)...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// pipe runs the program by itself.
func (w world) pipe(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), w.Program, args...)
	command.Stdin = strings.NewReader(in)
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestBothHelms: the same program changes what both render, and loses nothing.
func TestBothHelms(t *testing.T) {
	site := w.file(t, "site.yaml", settings)
	for _, helm := range []string{"helm", "helm4"} {
		t.Run(helm, func(t *testing.T) {
			plain, err := w.template(t, helm)
			require.NoError(t, err, plain)
			out, err := w.template(t, helm, w.Arguments(helm, site)...)
			require.NoError(t, err, out)
			assert.Equal(t, kinds(plain), kinds(out), "no object vanishes or appears")
			assert.Contains(t, out, "registry.example.com/docker.io/vdi-platform/traefik:dev")
			assert.Contains(t, out, "pool: infra")
			assert.GreaterOrEqual(t, strings.Count(out, `cost-center: "42"`), 10)
			for _, hook := range []string{"helm.sh/hook: pre-upgrade", "helm.sh/hook: pre-delete", "helm.sh/hook: test"} {
				assert.Equal(t, strings.Count(plain, hook), strings.Count(out, hook), hook)
			}
		})
	}
}

// kinds counts the objects by kind.
func kinds(manifests string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(manifests) {
		if kind, found := strings.CutPrefix(line, "kind: "); found {
			out[strings.TrimSpace(kind)]++
		}
	}
	return out
}

func TestTwiceIsOnce(t *testing.T) {
	site := w.file(t, "site.yaml", settings)
	plain, err := w.template(t, "helm")
	require.NoError(t, err)
	once, err := w.pipe(t, plain, "--settings", site)
	require.NoError(t, err, once)
	twice, err := w.pipe(t, once, "--settings", site)
	require.NoError(t, err, twice)
	assert.Equal(t, once, twice)
	assert.Equal(t, strings.Count("\n"+plain, "\n---\n"), strings.Count("\n"+once, "\n---\n"), "as many documents")
}

// TestDigests: pinned from a file, before the registry is rewritten.
func TestDigests(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	site := w.file(t, "site.yaml", settings)
	pins := w.file(t, "digests.txt", "# image and digest\ndocker.io/vdi-platform/traefik:dev "+digest+"\n")
	plain, err := w.template(t, "helm")
	require.NoError(t, err)
	out, err := w.pipe(t, plain, "--settings", site, "--digests", pins)
	require.NoError(t, err, out)
	assert.Contains(t, out, "image: registry.example.com/docker.io/vdi-platform/traefik:dev@"+digest)
}

// TestFailsInOneLine: what stops an install says so in one line, and Helm shows it.
func TestFailsInOneLine(t *testing.T) {
	privileged := "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostPID: true, containers: [{name: a, image: b}]}\n"
	site := w.file(t, "site.yaml", settings)
	for name, c := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"privileged":   {privileged, []string{"--settings", site}, "Pod a: its pod is privileged"},
		"no settings":  {"", nil, "--settings FILE is missing"},
		"no file":      {"", []string{"--settings", "absent.yaml"}, "read settings"},
		"unknown key":  {"", []string{"--settings", w.file(t, "unknown.yaml", "lables: {}")}, `unknown field "lables"`},
		"unknown flag": {"", []string{"--verbose"}, "not defined: -verbose"},
		"too many":     {"", []string{"--settings", site, "more"}, `unexpected argument "more"`},
		"bad digests":  {"", []string{"--settings", site, "--digests", w.file(t, "bad.txt", "one\n")}, "line 1: want an image and its digest"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := w.pipe(t, c.in, c.args...)
			require.Error(t, err)
			assert.Contains(t, out, c.want)
			assert.Equal(t, 1, strings.Count(out, "\n"), out)
		})
	}
	wrong := w.file(t, "wrong.yaml", `labels: {app.kubernetes.io/name: mine}`)
	out, err := w.template(t, "helm", w.Arguments("helm", wrong)...)
	require.Error(t, err)
	assert.Contains(t, out, `"app.kubernetes.io/name" belongs to the charts`)
	// Helm 4.3 keeps the words of a plugin to itself; the page Operations says so.
	_, err = w.template(t, "helm4", w.Arguments("helm4", wrong)...)
	require.Error(t, err)
}
