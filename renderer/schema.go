package renderer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schema is the chart's values.schema.json, compiled once.
type schema struct{ compiled *jsonschema.Schema }

// noRemote refuses every reference out of the schema, so that compiling one
// never reads a file or the network.
type noRemote struct{}

func (noRemote) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference to %s: only references inside the schema are allowed", url)
}

func newSchema(text []byte) (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noRemote{})
	const url = "urn:vdi-session:values"
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(url)
	return &schema{compiled: compiled}, err
}

// problem is one violation: where, and what is wrong there.
type problem struct {
	path []string
	text string
}

// check lists what the schema refuses, in the order of the paths.
func (s *schema) check(values map[string]any) ([]problem, error) {
	err := s.compiled.Validate(values)
	if err == nil {
		return nil, nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil, err
	}
	problems := problemsOf(invalid)
	slices.SortFunc(problems, func(a, b problem) int { return slices.Compare(a.path, b.path) })
	return problems, nil
}

// problemsOf collects the leaves of a tree of violations.
func problemsOf(e *jsonschema.ValidationError) (out []problem) {
	if _, not := e.ErrorKind.(*kind.Not); len(e.Causes) == 0 || not {
		return leafProblems(e)
	}
	for _, cause := range e.Causes {
		out = append(out, problemsOf(cause)...)
	}
	return out
}

// leafProblems names unknown keys one by one, at their own path.
func leafProblems(e *jsonschema.ValidationError) (out []problem) {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			out = append(out, problem{append(slices.Clone(e.InstanceLocation), key), "unknown key"})
		}
		return out
	case *kind.Not:
		return []problem{{e.InstanceLocation, refusalOf(e.SchemaURL)}}
	case *kind.Pattern:
		return []problem{{e.InstanceLocation, fmt.Sprintf("%q is no %s", k.Got, formOf(e.SchemaURL, k.Want))}}
	}
	return []problem{{e.InstanceLocation, e.ErrorKind.LocalizedString(message.NewPrinter(language.English))}}
}

// refusalOf says in words what a "not" is for.
func refusalOf(url string) string {
	if strings.HasSuffix(url, "/desktopPort") {
		return "8090 to 8092 are the agent's, which runs beside every desktop"
	}
	return "not allowed in this form"
}

// formOf says in words what a pattern asks for; the definition's name is the
// last part of the schema's address.
func formOf(url, pattern string) string {
	words := map[string]string{
		"quantity":         "quantity such as 2, 500m or 4Gi",
		"optionalQuantity": "quantity such as 2, 500m or 4Gi",
		"name":             "name of lower-case letters, digits, '-' and '.'",
		"optionalName":     "name of lower-case letters, digits, '-' and '.'",
		"labelValue":       "label value: at most 63 letters, digits, '-', '_' and '.'",
		"key":              "key of a label or annotation",
		"variable":         "name of a variable",
		"cidr":             "address range such as 10.0.0.0/8",
		"host":             "DNS name in lower case with at least two labels",
	}
	if form, known := words[url[strings.LastIndex(url, "/")+1:]]; known {
		return form
	}
	return "match of " + pattern
}

// holds says whether values has something at a path.
func holds(values map[string]any, path []string) bool {
	var at any = values
	for _, key := range path {
		m, isMap := at.(map[string]any)
		if !isMap {
			return len(path) > 0 && at != nil
		}
		next, found := m[key]
		if !found {
			return false
		}
		at = next
	}
	return true
}

// dotted is a path as people write it: a.b[0].c.
func dotted(path []string) string {
	var out strings.Builder
	for i, key := range path {
		switch {
		case key != "" && strings.Trim(key, "0123456789") == "":
			out.WriteString("[" + key + "]")
		case i > 0:
			out.WriteString("." + key)
		default:
			out.WriteString(key)
		}
	}
	return out.String()
}
