package status

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// notOfSessions are the constants of conditions.go that no session's status has, and why.
func notOfSessions() map[string]string {
	return map[string]string{
		"ConditionValid":       "a condition of templates",
		"ReasonEncoderMissing": "a reason of a template's condition Valid: its sessions start, and encode in software",
	}
}

// TestGoldenWords: each condition and each reason that sessions can have is in a golden
// output, so that somebody has read the words that come with it.
func TestGoldenWords(t *testing.T) {
	conditions, reasons := map[string]bool{}, map[string]bool{}
	for _, in := range goldenInputs(t) {
		for _, c := range look(t, in).conditions {
			conditions[c.Type], reasons[c.Reason] = true, true
		}
	}
	constants, exempt := conditionConstants(t), notOfSessions()
	for name, value := range constants {
		isSaid := reasons[value]
		if strings.HasPrefix(name, "Condition") {
			isSaid = conditions[value]
		}
		_, isExempt := exempt[name]
		assert.NotEqual(t, isExempt, isSaid, "%s: in a golden output, or in notOfSessions", name)
	}
	for name := range exempt {
		assert.Contains(t, constants, name, "it is gone")
	}
	known := slices.Collect(maps.Values(constants))
	for said := range maps.Keys(reasons) {
		assert.Contains(t, known, said, "a reason that conditions.go does not have")
	}
}

// conditionConstants are the condition types and reasons by name.
func conditionConstants(t testing.TB) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	require.NoError(t, err)
	constants := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, isValue := n.(*ast.ValueSpec)
		if !isValue {
			return true
		}
		for i, name := range spec.Names {
			require.True(t, strings.HasPrefix(name.Name, "Condition") || strings.HasPrefix(name.Name, "Reason"), name.Name)
			literal, isLiteral := spec.Values[i].(*ast.BasicLit)
			require.True(t, isLiteral, name.Name)
			value, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			constants[name.Name] = value
		}
		return true
	})
	require.NotEmpty(t, constants)
	return constants
}
