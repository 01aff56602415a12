package renderer

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	helmengine "helm.sh/helm/v3/pkg/engine"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// TestEngineWritesWhatHelmWrites compares every byte with Helm's own engine,
// over all golden sessions whose values are accepted.
func TestEngineWritesWhatHelmWrites(t *testing.T) {
	r := newRenderer(t)
	files, err := ChartFiles()
	require.NoError(t, err)
	chart, err := loader.LoadFiles(files)
	require.NoError(t, err)
	compared := 0
	for name, in := range goldenInputs(t) {
		values, err := r.Values(in)
		if err != nil {
			continue
		}
		options := chartutil.ReleaseOptions{Name: in.Session.Name, Namespace: in.Session.Namespace}
		all, err := chartutil.ToRenderValues(chart, values, options, nil)
		require.NoError(t, err, name)
		theirs, theirErr := helmengine.Engine{Strict: true}.Render(chart, all)
		ours, ourErr := texts(r, in, values)
		require.Equal(t, theirErr == nil, ourErr == nil, "%s: %v / %v", name, theirErr, ourErr)
		if theirErr == nil {
			assert.Equal(t, theirs, ours, name)
			compared++
		}
	}
	assert.Greater(t, compared, 20)
}

func texts(r *Renderer, in Input, values map[string]any) (map[string]string, error) {
	out := map[string]string{}
	for _, file := range r.chart.files {
		var text strings.Builder
		if err := r.chart.execute(&text, file, releaseOf(in), values); err != nil {
			return nil, err
		}
		out[file] = text.String()
	}
	return out, nil
}

// TestDecoderReadsWhatKubernetesReads compares with the YAML reader that
// kubectl and Helm use.
func TestDecoderReadsWhatKubernetesReads(t *testing.T) {
	r := newRenderer(t)
	for name, in := range goldenInputs(t) {
		values, err := r.Values(in)
		if err != nil {
			continue
		}
		written, err := texts(r, in, values)
		if err != nil {
			continue
		}
		for file, text := range written {
			ours, err := decode(strings.NewReader(text))
			require.NoError(t, err, "%s %s", name, file)
			var theirs map[string]any
			require.NoError(t, sigsyaml.Unmarshal([]byte(text), &theirs))
			if theirs == nil {
				assert.Empty(t, ours)
				continue
			}
			assert.JSONEq(t, jsonOf(t, theirs), jsonOf(t, ours[0].Object), "%s %s", name, file)
		}
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func TestDecodeRefusesWhatIsNoObject(t *testing.T) {
	_, err := decode(strings.NewReader("a: 2020-01-01"))
	require.ErrorContains(t, err, "time.Time")
	_, err = decode(strings.NewReader("a: &x [*x]"))
	require.Error(t, err)
	_, err = decode(strings.NewReader("a: 1\na: 2"))
	require.ErrorContains(t, err, "already defined")
}

// TestTemplatesUseAllowedFunctionsOnly reads the parse trees: a banned function
// must not stand in the chart even where the engine would refuse it too, because
// people install the chart by hand as well.
func TestTemplatesUseAllowedFunctionsOnly(t *testing.T) {
	files, err := ChartFiles()
	require.NoError(t, err)
	used := map[string]bool{}
	for _, file := range files {
		if !strings.HasPrefix(file.Name, "templates/") {
			continue
		}
		tree := parse.New(file.Name)
		tree.Mode = parse.SkipFuncCheck
		set := map[string]*parse.Tree{}
		_, err := tree.Parse(string(file.Data), "", "", set)
		require.NoError(t, err)
		for _, defined := range set {
			identifiers(defined.Root, used)
		}
	}
	require.Contains(t, used, "include", "the walk finds functions")
	known := functions(template.New(""))
	for name := range used {
		assert.False(t, isBanned(name), "%s is banned", name)
		_, builtIn := map[string]bool{"and": true, "or": true, "not": true, "eq": true, "ne": true, "printf": true}[name]
		assert.True(t, builtIn || known[name] != nil, "%s is no function of both Helm 3 and 4", name)
	}
}

// identifiers collects the functions named below a node, through its JSON-free
// text form: every word of the tree that is an identifier node.
func identifiers(node parse.Node, used map[string]bool) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, inner := range n.Nodes {
				identifiers(inner, used)
			}
		}
	case *parse.ActionNode:
		identifiers(n.Pipe, used)
	case *parse.PipeNode:
		if n != nil {
			for _, command := range n.Cmds {
				identifiers(command, used)
			}
		}
	case *parse.CommandNode:
		for _, arg := range n.Args {
			identifiers(arg, used)
		}
	case *parse.IdentifierNode:
		used[n.Ident] = true
	case *parse.ChainNode:
		identifiers(n.Node, used)
	case *parse.TemplateNode:
		used["template"] = true
	case *parse.IfNode:
		branch(&n.BranchNode, used)
	case *parse.WithNode:
		branch(&n.BranchNode, used)
	case *parse.RangeNode:
		branch(&n.BranchNode, used)
	}
}

func branch(n *parse.BranchNode, used map[string]bool) {
	identifiers(n.Pipe, used)
	identifiers(n.List, used)
	identifiers(n.ElseList, used)
}

func TestBannedFunctionsAreGone(t *testing.T) {
	known := functions(template.New(""))
	for _, name := range []string{
		"lookup", "tpl", "now", "date", "dateInZone", "dateModify", "mustDateModify", "randAlphaNum", "randBytes", "uuidv4",
		"genCA", "genSelfSignedCert", "genPrivateKey", "env", "expandenv", "getHostByName", "ago", "shuffle", "htpasswd", "derivePassword",
	} {
		assert.NotContains(t, known, name)
	}
}

// TestValuesAreText shows that no value is ever executed as a template.
func TestValuesAreText(t *testing.T) {
	in := goldenInputs(t)["defaults"]
	in.Session.Spec.User = `{{ lookup "v1" "Secret" "kube-system" "" }}{{ .Files.Get "x" }}{{ tpl "x" . }}`
	got, err := newRenderer(t).Render(in)
	require.NoError(t, err)
	assert.Equal(t, in.Session.Spec.User, got.ofKind(wire.KindPod)[0].GetAnnotations()["vdi.kasm.io/user"])
}

func TestSchemaHasNoReferenceOut(t *testing.T) {
	var doc any
	require.NoError(t, json.Unmarshal(newRenderer(t).chart.schema, &doc))
	for _, ref := range references(doc) {
		assert.True(t, strings.HasPrefix(ref, "#/"), ref)
	}
	_, err := newSchema([]byte(`{"$ref": "https://example.com/schema.json"}`))
	require.ErrorContains(t, err, "only references inside the schema")
}

func references(v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if ref, isText := value.(string); isText && key == "$ref" {
				out = append(out, ref)
			}
			out = append(out, references(value)...)
		}
	case []any:
		for _, value := range v {
			out = append(out, references(value)...)
		}
	}
	return out
}

// TestSchemaIsStrict shows that every object of the chart's own values refuses
// unknown keys and that the defaults hold every known key.
func TestSchemaIsStrict(t *testing.T) {
	var doc map[string]any
	r := newRenderer(t)
	require.NoError(t, json.Unmarshal(r.chart.schema, &doc))
	assert.Equal(t, "http://json-schema.org/draft-07/schema#", doc["$schema"])
	sameKeys(t, "values", doc, r.chart.defaults)
}

func sameKeys(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, isClosed := schema["properties"].(map[string]any)
	if !isClosed {
		return
	}
	assert.Equal(t, false, schema["additionalProperties"], path)
	assert.Equal(t, slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(values)), path)
	for key, inner := range properties {
		if below, isMap := values[key].(map[string]any); isMap {
			sameKeys(t, path+"."+key, inner.(map[string]any), below)
		}
	}
}

// TestEveryValueIsDocumented wants a "# -- " line above every leaf.
func TestEveryValueIsDocumented(t *testing.T) {
	files, err := ChartFiles()
	require.NoError(t, err)
	i := slices.IndexFunc(files, func(f *loader.BufferedFile) bool { return f.Name == "values.yaml" })
	lines := bytes.Split(files[i].Data, []byte("\n"))
	for n, line := range lines {
		key, value, isKey := strings.Cut(strings.TrimSpace(string(line)), ":")
		depth := (len(line) - len(bytes.TrimLeft(line, " "))) / 2
		if !isKey || strings.HasPrefix(key, "#") || strings.HasPrefix(key, "-") || strings.Contains(key, ".") || depth > 2 {
			continue
		}
		if value != "" && !strings.HasPrefix(string(bytes.TrimSpace(lines[n-1])), "# --") && !strings.HasPrefix(string(bytes.TrimSpace(lines[n-1])), "- name") {
			t.Errorf("values.yaml:%d: %s has no '# -- ' line", n+1, key)
		}
	}
}
