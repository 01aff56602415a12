package renderer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	yaml "go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/charts"
)

// engine executes the session chart's templates. Helm's own engine parses them
// anew and builds its functions at every call; here it is done once, with the
// same functions and options. A test compares the bytes of both.
//
// The set is shared by all renders: text/template may be executed concurrently,
// and "include" keeps no counter, since without "tpl" no input can make the
// chart's templates recurse.
type engine struct {
	set      *template.Template
	files    []string
	defaults map[string]any
	schema   []byte
	metadata *chart.Metadata
}

// release is what a template may know about the installation.
type release struct{ Name, Namespace string }

func newEngine() (*engine, error) {
	files, err := ChartFiles()
	if err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return engineOf(c)
}

// ChartFiles are the files of the session chart, as Helm 3's loader takes them.
func ChartFiles() ([]*loader.BufferedFile, error) {
	var files []*loader.BufferedFile
	root, err := fs.Sub(charts.VDISession, "vdi-session")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		files = append(files, &loader.BufferedFile{Name: name, Data: data})
		return err
	})
	return files, err
}

func engineOf(c *chart.Chart) (*engine, error) {
	e := &engine{set: template.New("gotpl").Option("missingkey=error"), defaults: c.Values, schema: c.Schema, metadata: c.Metadata}
	e.set.Funcs(functions(e.set))
	for _, file := range c.Templates {
		name := path.Join(c.Name(), file.Name)
		if _, err := e.set.New(name).Parse(string(file.Data)); err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		if !strings.HasPrefix(path.Base(name), "_") {
			e.files = append(e.files, name)
		}
	}
	slices.Sort(e.files)
	return e, nil
}

// isBanned names the functions the session chart must not use, because their
// result depends on more than the values (cluster, clock, chance, environment,
// DNS) or because they execute values as templates.
func isBanned(name string) bool {
	banned := []string{
		"lookup", "tpl", "now", "ago", "env", "expandenv", "getHostByName", "uuidv4",
		"toDate", "mustToDate", "unixEpoch", "htmlDate", "htmlDateInZone", "derivePassword", "bcrypt", "htpasswd",
		"encryptAES", "decryptAES", "buildCustomCert", "shuffle",
	}
	prefixes := []string{"date", "mustDate", "rand", "gen"}
	return slices.Contains(banned, name) ||
		slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// functions are sprig's and Helm's own (pkg/engine/funcs.go, v3.22.0) without
// the banned ones. Only those of Helm's that exist in Helm 3 and 4 are given.
func functions(set *template.Template) template.FuncMap {
	f := sprig.TxtFuncMap()
	f["toYaml"] = toYAML
	f["required"] = required
	f["fail"] = func(message string) (string, error) { return "", errors.New(message) }
	f["include"] = func(name string, data any) (string, error) {
		var out strings.Builder
		err := set.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	for name := range f {
		if isBanned(name) {
			delete(f, name)
		}
	}
	return f
}

// toYAML swallows errors as Helm's does; the values come from JSON, which has none.
func toYAML(v any) string {
	data, err := sigsyaml.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(data), "\n")
}

func required(message string, v any) (any, error) {
	if v == nil || v == "" {
		return v, errors.New(message)
	}
	return v, nil
}

// objects executes every template and decodes what it says, in install order.
func (e *engine) objects(rel release, values map[string]any) ([]*unstructured.Unstructured, error) {
	var stream bytes.Buffer
	written := 0
	for _, file := range e.files {
		before := stream.Len()
		if err := e.execute(&stream, file, rel, values); err != nil {
			return nil, fmt.Errorf("%w: %s", ErrValues, templateMessage(err))
		}
		if isBlank(stream.Bytes()[before:]) {
			stream.Truncate(before)
			continue
		}
		stream.WriteString("\n---\n")
		written++
	}
	objs, err := decode(&stream)
	if err != nil {
		return nil, fmt.Errorf("%w: decode the session chart: %w", ErrValues, err)
	}
	if len(objs) != written { // no template writes two objects, so a value did
		return nil, fmt.Errorf("%w: %d templates gave %d objects", ErrValues, written, len(objs))
	}
	slices.SortStableFunc(objs, byInstallOrder)
	return objs, nil
}

func isBlank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

func (e *engine) execute(out io.Writer, file string, rel release, values map[string]any) error {
	return e.set.ExecuteTemplate(out, file, map[string]any{
		"Values":   values,
		"Release":  map[string]any{"Name": rel.Name, "Namespace": rel.Namespace, "Service": "Helm"},
		"Chart":    e.metadata,
		"Template": map[string]any{"Name": file, "BasePath": path.Dir(file)},
	})
}

// templateMessage is the message of "required" or "fail", without text/template's account of
// where in the chart it was called; other errors stay whole.
func templateMessage(err error) string {
	text := err.Error()
	for _, call := range []string{"error calling required: ", "error calling fail: "} {
		if i := strings.LastIndex(text, call); i >= 0 {
			return text[i+len(call):]
		}
	}
	return text
}

// decode reads a stream of YAML documents; blank ones are left out.
func decode(stream io.Reader) (objs []*unstructured.Unstructured, err error) {
	for in := yaml.NewDecoder(stream); ; {
		var doc map[string]any
		switch err := in.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return objs, nil
		case err != nil:
			return nil, err
		case doc == nil:
			continue
		}
		if _, err := plain(doc); err != nil {
			return nil, err
		}
		objs = append(objs, &unstructured.Unstructured{Object: doc})
	}
}

// plain turns YAML's types into those of unstructured objects, in place.
func plain(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key], err = plain(value); err != nil {
				return nil, err
			}
		}
		return v, nil
	case []any:
		for i, value := range v {
			if v[i], err = plain(value); err != nil {
				return nil, err
			}
		}
		return v, nil
	case int:
		return int64(v), nil
	case nil, bool, string, int64, float64:
		return v, nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

func byInstallOrder(a, b *unstructured.Unstructured) int {
	return cmp.Compare(installRank(a.GetKind()), installRank(b.GetKind()))
}
