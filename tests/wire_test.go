package tests

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wireFolder holds the words of the wire.
const wireFolder = "platform/wire"

// homonyms are texts that say something else at places where they are written out.
// Whoever adds one has looked at what it means there.
func homonyms() map[string][]string {
	return map[string][]string{
		"Secret":      {"platform/config.go"}, // a mode of TLS
		"Service":     {"renderer/engine.go"}, // of a Helm release
		"agent":       {"renderer/values.go"}, // values of the session chart, also below
		"credentials": {"renderer/guard.go", "renderer/values.go"},
		"home": { // also a flag
			"operator/kubectl-vdi/command/create.go", "operator/kubectl-vdi/command/delete.go", "renderer/guard.go", "renderer/values.go",
		},
		"http": { // a scheme
			"operator/agent/proxy.go", "operator/kubectl-vdi/command/terminal.go", "operator/proxycheck/proxytest/proxytest.go", "platform/access.go", "platform/validate.go",
		},
		"none": { // fetch metadata, a hash of nothing, settings of Selkies and of NVIDIA's, flags
			"operator/frontdoor/ended/list.go", "operator/kubectl-vdi/command/create.go", "operator/kubectl-vdi/command/print.go", "operator/web/request.go", "platform/policy.go", "platform/sharing.go",
		},
		"password": {"operator/agent/guard.go"}, // a label of a metric
		"selkies":  {"platform/endpoints.go"},   // a list of endpoints
		"true": { // settings of streamers, of NVIDIA's, of an identity provider
			"operator/frontdoor/provider.go", "platform/policy.go", "platform/sharing.go", "platform/streamer.go",
		},
		"turn":        {"operator/agent/turn.go", "renderer/values.go"}, // a service of that protocol
		"VDISession":  {"operator/api/v1alpha1/owner.go"},               // the API imports nothing of ours
		"v1alpha1":    {"operator/api/v1alpha1/groupversion.go"},        // our own API's version
		"username":    {"operator/kubectl-vdi/command/cluster.go"},      // a field of the API server's
		"vdi-session": {"renderer/engine.go"},                           // the chart's folder
	}
}

// wireWords are the constants of platform/wire that are texts: value to name.
func wireWords(t *testing.T) map[string]string {
	t.Helper()
	files, set := []*ast.File{}, token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join("..", wireFolder, "*.go"))
	require.NoError(t, err)
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			file, err := parser.ParseFile(set, path, nil, 0)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	config := types.Config{Importer: importer.ForCompiler(set, "source", nil)}
	checked, err := config.Check("wire", set, files, nil)
	require.NoError(t, err)
	words := map[string]string{}
	for _, name := range checked.Scope().Names() {
		if c, isConst := checked.Scope().Lookup(name).(*types.Const); isConst && c.Val().Kind() == constant.String {
			words[constant.StringVal(c.Val())] = name
		}
	}
	require.Contains(t, words, "cookie-key")
	return words
}

// TestWireWordsStandOnce: what two programs must spell alike is spelt in one place.
func TestWireWordsStandOnce(t *testing.T) {
	words := wireWords(t)
	used := map[string]bool{}
	for _, s := range sources(t) {
		if filepath.ToSlash(filepath.Dir(s.path)) == wireFolder {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if _, isImport := n.(*ast.ImportSpec); isImport {
				return false
			}
			literal, isLiteral := n.(*ast.BasicLit)
			if !isLiteral || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			name, known := words[text]
			if known && slices.Contains(homonyms()[text], s.path) {
				used[text+" "+s.path] = true
				return true
			}
			assert.False(t, known, "%s writes %q out: say wire.%s", s.path, text, name)
			return true
		})
	}
	for text, paths := range homonyms() {
		for _, path := range paths {
			assert.True(t, used[text+" "+path], "%s does not write %q out any more: take it off the list", path, text)
		}
	}
}
