package renderer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// importsOf are the imports of a package's files, without its tests, by file.
func importsOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	out := map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			out[filepath.Base(file)] = append(out[filepath.Base(file)], name)
		}
	}
	require.NotEmpty(t, out)
	return out
}

// clocks are the functions of package time that ask or wait for the time;
// everything else in it is arithmetic.
func clocks() []string {
	return []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
}

// TestNoClock: whoever decides is told the time.
func TestNoClock(t *testing.T) {
	for _, dir := range []string{".", "../platform", "../platform/wire"} {
		for file := range importsOf(t, dir) {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok {
					if name, ok := call.X.(*ast.Ident); ok && name.Name == "time" {
						assert.NotContains(t, clocks(), call.Sel.Name, "%s/%s", dir, file)
					}
				}
				return true
			})
		}
	}
}

// TestPurePackages: no client, manager, file, process, network, chance.
func TestPurePackages(t *testing.T) {
	for _, dir := range []string{".", "../platform", "../platform/wire"} {
		for file, imports := range importsOf(t, dir) {
			for _, name := range imports {
				for _, banned := range []string{"os", "net", "net/http", "syscall", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog"} {
					assert.NotEqual(t, banned, name, "%s/%s", dir, file)
				}
				for _, banned := range []string{"os/", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "helm.sh/helm/v3/pkg/action", "helm.sh/helm/v4"} {
					assert.False(t, strings.HasPrefix(name, banned), "%s/%s imports %s", dir, file, name)
				}
			}
		}
	}
}

func TestOnlyTheEngineImportsHelm(t *testing.T) {
	for _, dir := range []string{".", "../platform", "../charts"} {
		for file, imports := range importsOf(t, dir) {
			for _, name := range imports {
				if strings.HasPrefix(name, "helm.sh/") {
					assert.Equal(t, "engine.go", file)
				}
			}
		}
	}
}

func TestImportsGoOneWay(t *testing.T) {
	const module = "github.com/vdi-platform/vdi-platform/"
	allowed := map[string][]string{
		".":                {"charts", "platform", "platform/wire", "operator/api/v1alpha1"},
		"../platform":      {"platform/wire", "operator/api/v1alpha1"},
		"../platform/wire": {},
		"../charts":        {},
	}
	for dir, packages := range allowed {
		for file, imports := range importsOf(t, dir) {
			for _, name := range imports {
				if own, isOurs := strings.CutPrefix(name, module); isOurs {
					assert.Contains(t, packages, own, "%s/%s", dir, file)
				}
			}
		}
	}
}

// TestWireImportsNothing but the standard library, whose paths have no dot before their
// first slash.
func TestWireImportsNothing(t *testing.T) {
	for file, imports := range importsOf(t, "../platform/wire") {
		for _, name := range imports {
			first, _, _ := strings.Cut(name, "/")
			assert.NotContains(t, first, ".", "%s imports %s", file, name)
		}
	}
}
