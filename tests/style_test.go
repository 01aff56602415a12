// Package tests checks rules of the repository that no compiler knows.
package tests

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Bounds of what one person can read at a glance.
const (
	maxFunctionLines = 60
	maxFileLines     = 600
)

const module = "github.com/vdi-platform/vdi-platform/"

// source is one Go file of the product.
type source struct {
	path  string
	file  *ast.File
	lines func(ast.Node) int
}

// sources parses the product's Go files; tests and generated files are not judged.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, dir := range []string{"charts", "operator", "platform", "renderer"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "zz_generated") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			lines := func(n ast.Node) int { return files.Position(n.End()).Line - files.Position(n.Pos()).Line }
			all = append(all, source{filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))), file, lines})
			return nil
		})
		require.NoError(t, err)
	}
	require.NotEmpty(t, all)
	return all
}

// layer is what the packages below a folder may import.
type layer struct {
	folder string
	ours   []string // our packages, by the beginnings of their paths
	banned []string // others' packages that stay away from here
}

// layers go one way: operator → renderer → charts, and everybody may use platform and
// the API types. Only the renderer's engine knows Helm, and only the operator a cluster.
func layers() []layer {
	const api = "operator/api/v1alpha1"
	cluster := []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	withoutHelm := append(cluster, "helm.sh/")
	return []layer{
		{"charts/", nil, withoutHelm},
		{"platform/", []string{api, "platform/"}, withoutHelm},
		{"renderer/engine.go", []string{"charts", "platform", "renderer/", api}, cluster},
		{"renderer/manifest/", nil, withoutHelm},
		{"renderer/", []string{"charts", "platform", "renderer/", api}, withoutHelm},
		{"operator/api/", nil, withoutHelm},
		{"operator/", []string{"charts", "operator/", "platform", "renderer"}, []string{"helm.sh/"}},
	}
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		i := slices.IndexFunc(layers(), func(l layer) bool { return strings.HasPrefix(s.path, l.folder) })
		require.GreaterOrEqual(t, i, 0, "%s is in no layer", s.path)
		l := layers()[i]
		for _, spec := range s.file.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
			assert.False(t, slices.ContainsFunc(l.banned, begins), "%s must not import %s", s.path, name)
			if own, isOurs := strings.CutPrefix(name, module); isOurs {
				allowed := slices.ContainsFunc(l.ours, func(prefix string) bool { return strings.HasPrefix(own, prefix) })
				assert.True(t, allowed, "%s must not import %s: imports go one way", s.path, name)
			}
		}
	}
}

// Functions and files stay readable.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		assert.LessOrEqual(t, s.lines(s.file), maxFileLines, "%s is too long: split it by what it holds", s.path)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok {
				assert.LessOrEqual(t, s.lines(f), maxFunctionLines, "%s: %s is too long: split it", s.path, f.Name.Name)
			}
			return true
		})
	}
}

// Every package says what it is for.
func TestPackagesHaveDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		documented[dir] = documented[dir] || s.file.Doc != nil
	}
	for dir, yes := range documented {
		assert.True(t, yes, "package %s has no package comment", dir)
	}
}

// The top level holds what the design names and nothing else.
func TestTopLevel(t *testing.T) {
	allowed := map[string]bool{}
	for _, name := range strings.Fields("charts operator renderer platform values tests ct.yaml Makefile go.mod go.sum README.md LICENSE bin dist") {
		allowed[name] = true
	}
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, e := range entries {
		assert.True(t, allowed[e.Name()] || strings.HasPrefix(e.Name(), "."), "%s does not belong at the top level", e.Name())
	}
}

// A path that a person gives is meant from where they run make.
func TestMakeTakesRelativeKubeconfig(t *testing.T) {
	shows := func(given string) string {
		command := exec.CommandContext(t.Context(), "make", "--silent", "--no-print-directory", "-C", "..", "KUBECONFIG="+given, "--eval", "show-kubeconfig:; @echo $$KUBECONFIG", "show-kubeconfig")
		out, err := command.Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "a.kubeconfig"), shows("a.kubeconfig"))
	assert.Equal(t, "/a:"+filepath.Join(root, "b"), shows("/a:b"))
	assert.Empty(t, shows(""))
}

// The plugin for kubectl is a module of its own, and made of what the operator is made of.
func TestPluginPinsTheOperatorsVersions(t *testing.T) {
	versions := func(folder string) map[string]string {
		command := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
		command.Dir = folder
		out, err := command.Output()
		require.NoError(t, err)
		var file struct {
			Require []struct{ Path, Version string }
		}
		require.NoError(t, json.Unmarshal(out, &file))
		all := map[string]string{}
		for _, module := range file.Require {
			all[module.Path] = module.Version
		}
		return all
	}
	operator, shared := versions(".."), 0
	for module, version := range versions("../operator/kubectl-vdi") {
		if pinned, both := operator[module]; both {
			shared++
			assert.Equal(t, pinned, version, "%s: operator/kubectl-vdi/go.mod and go.mod differ", module)
		}
	}
	require.Greater(t, shared, 10)
	assert.NotContains(t, operator, "k8s.io/cli-runtime", "it stays out of the operator")
}

// Tests that no target runs protect nothing.
func TestEveryPackageIsTested(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	run := tested(string(makefile))
	require.True(t, run("cluster/gpu") && !run("no/such"))
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "_test.go") {
			folder := filepath.ToSlash(filepath.Dir(path))
			assert.True(t, run(folder), "no target of the Makefile runs the tests of tests/%s", folder)
		}
		return err
	})
	require.NoError(t, err)
}

// tested says whether a command of the Makefile tests a folder below tests/.
func tested(makefile string) func(folder string) bool {
	var patterns []string
	for line := range strings.Lines(strings.ReplaceAll(makefile, "\\\n", " ")) {
		if _, command, found := strings.Cut(line, "go test "); found && strings.Contains(line, "cd tests") {
			for _, word := range strings.Fields(command) {
				if word == "." || strings.HasPrefix(word, "./") {
					patterns = append(patterns, strings.TrimPrefix(word, "./"))
				}
			}
		}
	}
	return func(folder string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			parent, whole := strings.CutSuffix(pattern, "/...")
			return folder == parent || whole && strings.HasPrefix(folder, parent+"/")
		})
	}
}
