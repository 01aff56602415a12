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

// TestNoClock: whoever decides gets the time as an argument.
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

// TestPurePackages: no client, manager, file, process, network, chance. Who may import
// whom is in tests/style_test.go.
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
