package renderer

import (
	"bytes"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	jsonutil "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// PostRenderer applies a site's wishes to the YAML that Helm renders. Its method
// set is that of Helm's own post-renderers, of version 3 and 4 alike.
type PostRenderer struct{ Site Site }

// Run reads a stream of documents and returns the same documents, in the same
// order, each with its keys sorted. A document without an object stays as it is.
func (p PostRenderer) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	documents, err := documentsOf(in.String())
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, d := range documents {
		if d.object != nil {
			objects = append(objects, d.object)
		}
	}
	if err := PostRender(objects, p.Site); err != nil {
		return nil, err
	}
	out := &bytes.Buffer{}
	for _, d := range documents {
		if err := d.write(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// document is one part of a YAML stream.
type document struct {
	comment string // lines before the object, which say which file it is from
	object  *unstructured.Unstructured
}

func documentsOf(stream string) (out []document, err error) {
	for i, part := range split(stream) {
		d := document{comment: leadingComment(part)}
		asJSON, err := yaml.YAMLToJSONStrict([]byte(part))
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		var content any
		if err := jsonutil.Unmarshal(asJSON, &content); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		object, isMap := content.(map[string]any)
		switch {
		case isMap && text(object["kind"]) != "" && text(object["apiVersion"]) != "":
			d.object = &unstructured.Unstructured{Object: object}
		case content != nil:
			return nil, fmt.Errorf("document %d is no Kubernetes object: it has no kind and apiVersion", i+1)
		}
		out = append(out, d)
	}
	return out, nil
}

// split cuts a stream at its separators. What comes before the first is a
// document only if it holds something.
func split(stream string) (out []string) {
	var current []string
	separated := false
	flush := func() {
		if part := strings.Join(current, "\n"); separated || strings.TrimSpace(part) != "" {
			out = append(out, part)
		}
		current = nil
	}
	for line := range strings.Lines(stream) {
		line = strings.TrimRight(line, "\r\n")
		if rest, isSeparator := strings.CutPrefix(line, "---"); isSeparator && (strings.TrimSpace(rest) == "" || strings.HasPrefix(strings.TrimSpace(rest), "#")) {
			flush()
			separated = true
			continue
		}
		current = append(current, line)
	}
	flush()
	return out
}

func leadingComment(part string) string {
	var out strings.Builder
	for line := range strings.Lines(part) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			break
		} else if trimmed != "" {
			out.WriteString(trimmed + "\n")
		}
	}
	return out.String()
}

func (d document) write(out *bytes.Buffer) error {
	out.WriteString("---\n" + d.comment)
	if d.object == nil {
		return nil
	}
	encoded, err := yaml.Marshal(d.object.Object)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", d.object.GetKind(), d.object.GetName(), err)
	}
	out.Write(encoded)
	return nil
}
