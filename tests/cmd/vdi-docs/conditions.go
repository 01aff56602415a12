package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// constant is a documented constant of the API: its value, and what it means.
type constant struct {
	name, value, means string
}

// conditionsPage lists the phases, conditions and reasons.
func conditionsPage(root string) (string, error) {
	dir := filepath.Join(root, "operator", "api", "v1alpha1")
	conditions, err := constants(filepath.Join(dir, "conditions.go"))
	if err != nil {
		return "", err
	}
	types, err := constants(filepath.Join(dir, "vdisession_types.go"))
	if err != nil {
		return "", err
	}
	all := append(types, conditions...)
	page := generated("`operator/api/v1alpha1`") + "# Phases, conditions and reasons\n\n" +
		"`kubectl get vdi NAME -o yaml` shows them under `status`; `status.message` says the same in a sentence. [What each wait means and what to do](README.md#why-does-my-session-wait).\n"
	for _, part := range []struct{ title, prefix, column string }{
		{"Phases", "Phase", "phase"},
		{"Conditions", "Condition", "condition"},
		{"Reasons", "Reason", "reason"},
	} {
		var rows [][]string
		for _, c := range withPrefix(all, part.prefix) {
			if c.means == "" {
				return "", fmt.Errorf("%s has no comment", c.name)
			}
			rows = append(rows, []string{code(c.value), sentence(c.means)})
		}
		if len(rows) == 0 {
			return "", errors.New("there are no " + part.title)
		}
		page += "\n## " + part.title + "\n\n" + table([]string{part.column, "means"}, rows)
	}
	return page, nil
}

func withPrefix(all []constant, prefix string) (out []constant) {
	for _, c := range all {
		if strings.HasPrefix(c.name, prefix) {
			out = append(out, c)
		}
	}
	return out
}

// constants are those of a Go file whose value is text.
func constants(path string) (out []constant, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			c, ok := constantOf(spec.(*ast.ValueSpec), group)
			if ok {
				out = append(out, c)
			}
		}
	}
	return out, nil
}

func constantOf(spec *ast.ValueSpec, group *ast.GenDecl) (constant, bool) {
	if len(spec.Names) != 1 || len(spec.Values) != 1 {
		return constant{}, false
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return constant{}, false
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return constant{}, false
	}
	comment := spec.Doc
	if comment == nil && !group.Lparen.IsValid() {
		comment = group.Doc
	}
	name := spec.Names[0].Name
	means := strings.TrimPrefix(strings.TrimSpace(comment.Text()), name)
	return constant{name, value, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(means, ":"), " is"))}, true
}
