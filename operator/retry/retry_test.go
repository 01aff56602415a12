package retry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// However long an outage was, the next try comes within a minute.
func TestNoTryComesLaterThanAMinute(t *testing.T) {
	limiter, work := Limiter(), reconcile.Request{}
	require.Equal(t, First, limiter.When(work))
	for range 1000 {
		require.LessOrEqual(t, limiter.When(work), Last)
	}
	require.Equal(t, Last, limiter.When(work))
	limiter.Forget(work)
	require.Equal(t, First, limiter.When(work), "what went well begins anew")
}

// Every controller waits by it: controller-runtime's own limit is 1000 s.
func TestEveryControllerWaitsByIt(t *testing.T) {
	makers := 0
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		made, limited := 0, 0
		ast.Inspect(file, func(n ast.Node) bool {
			switch called := called(n); {
			case called == "ctrl.NewControllerManagedBy", called == "builder.ControllerManagedBy", called == "controller.New":
				made++
			case called == "retry.Limiter":
				limited++
			}
			return true
		})
		require.Equal(t, made, limited, "%s makes controllers that do not wait by retry.Limiter", path)
		makers += made
		return nil
	}))
	require.Positive(t, makers)
}

// called is the function that a call names with its package.
func called(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	from, ok := selector.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return from.Name + "." + selector.Sel.Name
}
