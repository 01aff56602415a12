package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// fieldsPage lists every field of the kinds, from their CRDs.
func fieldsPage(root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "charts", "vdi-operator", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no CRDs: %w", err)
	}
	page := generated("the CRDs, which come from `operator/api/v1alpha1`") + "# Fields\n\n" +
		"`kubectl explain vdisession.spec` and `kubectl explain vditemplate.spec` show the same. " +
		"A default of a template is never in the schema, or it would hide the template's: the description names it.\n"
	for _, file := range files {
		part, err := kindPart(file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		page += part
	}
	return page, nil
}

func kindPart(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		return "", err
	}
	version := crd.Spec.Versions[len(crd.Spec.Versions)-1]
	schema := version.Schema.OpenAPIV3Schema
	part := fmt.Sprintf("\n## %s\n\n%s Version `%s/%s`, %s.\n", crd.Spec.Names.Kind, strings.Join(strings.Fields(schema.Description), " "), crd.Spec.Group, version.Name, strings.ToLower(string(crd.Spec.Scope)))
	for _, name := range []string{"spec", "status"} {
		field, ok := schema.Properties[name]
		if !ok {
			return "", fmt.Errorf("no field %s", name)
		}
		var rows [][]string
		addFields(&rows, name, field, slices.Contains(schema.Required, name))
		part += fmt.Sprintf("\n### %s `%s`\n\n%s", crd.Spec.Names.Kind, name, table([]string{"field", "type", "default", "bounds", "what it is"}, rows))
	}
	return part, nil
}

// isKubernetes says whether a field's inside is Kubernetes' own, which others document.
func isKubernetes(path string) bool {
	for _, end := range []string{".conditions", ".tolerations", ".valueFrom"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// addFields adds a row for a field and for those in it.
func addFields(rows *[][]string, path string, field apiextensionsv1.JSONSchemaProps, required bool) {
	standard := ""
	if field.Default != nil && field.Type != "object" {
		standard = code(strings.Trim(string(field.Default.Raw), `"`))
	}
	*rows = append(*rows, []string{code(path), typeOf(field), standard, boundsOf(field, required), field.Description})
	if isKubernetes(path) {
		return
	}
	inner := field
	for inner.Items != nil && inner.Items.Schema != nil {
		inner, path = *inner.Items.Schema, path+"[]"
	}
	for _, name := range slices.Sorted(keys(inner.Properties)) {
		addFields(rows, path+"."+name, inner.Properties[name], slices.Contains(inner.Required, name))
	}
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func typeOf(field apiextensionsv1.JSONSchemaProps) string {
	switch {
	case field.Items != nil && field.Items.Schema != nil:
		return "list of " + typeOf(*field.Items.Schema)
	case field.AdditionalProperties != nil && field.AdditionalProperties.Schema != nil:
		return "map of " + typeOf(*field.AdditionalProperties.Schema)
	case field.XIntOrString:
		return "integer or string"
	case field.Format == "date-time":
		return "time"
	case field.Type == "":
		return "any"
	}
	return field.Type
}

// boundsOf is what the schema and its rules demand, in their own words.
func boundsOf(field apiextensionsv1.JSONSchemaProps, required bool) string {
	var out []string
	add := func(when bool, format string, args ...any) {
		if when {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(required, "required")
	all := field
	if field.Items != nil && field.Items.Schema != nil {
		all.Enum, all.Pattern = field.Items.Schema.Enum, field.Items.Schema.Pattern
	}
	var words []string
	for _, word := range all.Enum {
		words = append(words, code(strings.Trim(string(word.Raw), `"`)))
	}
	add(len(words) > 0, "%s", strings.Join(words, ", "))
	add(field.Minimum != nil, "≥ %v", deref(field.Minimum))
	add(field.Maximum != nil, "≤ %v", deref(field.Maximum))
	add(deref(field.MinLength) > 1, "≥ %d characters", deref(field.MinLength))
	add(field.MaxLength != nil, "≤ %d characters", deref(field.MaxLength))
	add(deref(field.MinItems) > 0, "≥ %d items", deref(field.MinItems))
	add(field.MaxItems != nil, "≤ %d items", deref(field.MaxItems))
	add(field.MaxProperties != nil, "≤ %d entries", deref(field.MaxProperties))
	add(all.Pattern != "", "matches `%s`", all.Pattern)
	rules := field.XValidations
	if field.Items != nil && field.Items.Schema != nil {
		rules = append(slices.Clone(rules), field.Items.Schema.XValidations...)
	}
	for _, rule := range rules {
		add(rule.Message != "", "%s", rule.Message)
	}
	return strings.Join(out, "; ")
}

func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
