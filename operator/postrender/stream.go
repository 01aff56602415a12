package postrender

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	jsonutil "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// render applies the site's settings to a stream of documents. It keeps their order
// and comments; each has its keys sorted. A document without an object stays.
func (s Site) render(stream []byte) ([]byte, error) {
	documents, err := documentsOf(stream)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, d := range documents {
		if d.object != nil {
			objects = append(objects, d.object)
		}
	}
	if err := s.apply(objects); err != nil {
		return nil, err
	}
	out := &bytes.Buffer{}
	for _, d := range documents {
		if err := d.write(out); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// document is one part of a YAML stream.
type document struct {
	comment string // lines before the object, which say which file it is from
	object  *unstructured.Unstructured
}

// documentsOf leaves out documents that hold nothing, not even a comment.
func documentsOf(stream []byte) (out []document, err error) {
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream))); ; {
		number := len(out) + 1
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		if bytes.HasPrefix(part, []byte("---")) { // the reader leaves the first separator in place
			_, part, _ = bytes.Cut(part, []byte("\n"))
		}
		if len(bytes.TrimSpace(part)) == 0 {
			continue
		}
		object, err := objectOf(part)
		switch {
		case errors.Is(err, errNoObject), errors.Is(err, errBehindEnd):
			return nil, fmt.Errorf("document %d %w", number, err)
		case err != nil:
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		out = append(out, document{leadingComment(string(part)), object})
	}
}

var errNoObject = errors.New("is no Kubernetes object: it has no kind and apiVersion")

// documentEnd ends a document without beginning another (YAML 1.2, 9.1.2). What follows
// would be left out in silence.
var documentEnd = regexp.MustCompile(`(?m)^\.\.\.(?:[ \t].*)?\r?$`)

var errBehindEnd = errors.New(`goes on behind "...": begin another document with "---"`)

// objectOf is the object in a document, nil where it holds only comments.
func objectOf(part []byte) (*unstructured.Unstructured, error) {
	if end := documentEnd.FindIndex(part); end != nil && saysMore(part[end[1]:]) {
		return nil, errBehindEnd
	}
	asJSON, err := yaml.YAMLToJSONStrict(part)
	if err != nil {
		return nil, err
	}
	var content any
	if err := jsonutil.Unmarshal(asJSON, &content); err != nil {
		return nil, err
	}
	if content == nil {
		return nil, nil
	}
	fields, _ := content.(map[string]any)
	object := &unstructured.Unstructured{Object: fields}
	if object.GetKind() == "" || object.GetAPIVersion() == "" {
		return nil, errNoObject
	}
	return object, nil
}

// saysMore reports whether a text holds more than comments.
func saysMore(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
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
