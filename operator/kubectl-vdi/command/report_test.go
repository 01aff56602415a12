package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// lists is an API server that knows lists by their paths: each is the objects that are in it, or
// the HTTP status with which it is refused. It does not know other paths.
type lists map[string]any

const (
	allSessions = "/apis/vdi.kasm.io/v1alpha1/vdisessions"
	allQuotas   = "/apis/vdi.kasm.io/v1alpha1/vdiquotas"
	allPods     = "/api/v1/pods"
	allMetrics  = "/apis/metrics.k8s.io/v1beta1/pods"
)

// forbidden is how an API server refuses a list to eve.
func forbidden(group, resource string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"details":{"kind":%q},`+
		`"message":"%s is forbidden: User \"eve\" cannot list resource \"%s\" in API group \"%s\" at the cluster scope"}`, resource, resource, resource, group))
}

func (l lists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch items := l[r.URL.Path].(type) {
	case nil:
		http.Error(w, "404 page not found", http.StatusNotFound)
	case json.RawMessage:
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write(items)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "1"}, "items": items})
	}
}

// say runs a command at noon and returns what it prints and complains about.
func (l lists) say(t *testing.T, args ...string) (printed, complaint string, err error) {
	t.Helper()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	server := httptest.NewServer(l)
	defer server.Close()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	root, tool := build(streams, "1", "kubectl-vdi")
	tool.now = func() time.Time { return noon }
	root.SetArgs(append(args, "--server", server.URL, "--cache-dir", noCache))
	err = root.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

// A report has the same rows for people and machines, and says beside them what was not read.
func TestReport(t *testing.T) {
	type row struct {
		Name string `json:"name"`
		Size *int32 `json:"size,omitempty"`
	}
	v := view[row]{
		columns: []column[row]{
			{name: "Name", of: func(r row) any { return r.Name }},
			{name: "Size", of: func(r row) any { return known(r.Size) }},
			{name: "Again", wide: true, of: func(r row) any { return some(int64(len(r.Name))) }},
		},
		object: func(r row) string { return "row/" + r.Name },
		none:   "There are no rows.",
	}
	rows := []row{{"a\x1b", new(int32(0))}, {"", nil}}
	for format, want := range map[string]string{
		"":     "NAME   SIZE\na^[    0\n-      -\n",
		"wide": "NAME   SIZE   AGAIN\na^[    0      2\n-      -      -\n",
		"name": "row/a^[\nrow/\n",
		"json": "{\n  \"items\": [\n    {\n      \"name\": \"a\\u001b\",\n      \"size\": 0\n    },\n    {\n      \"name\": \"\"\n    }\n  ],\n  \"notRead\": [\n    \"pods: you lack the right\"\n  ]\n}\n",
		"yaml": "items:\n- name: \"a\\e\"\n  size: 0\n- name: \"\"\nnotRead:\n- 'pods: you lack the right'\n",
	} {
		streams, _, out, errOut := genericiooptions.NewTestIOStreams()
		require.NoError(t, printReport(&tool{IOStreams: streams}, reportFlags{output: format}, v, rows, []string{"pods: you lack the right"}), format)
		assert.Equal(t, want, out.String(), format)
		if format != "json" && format != "yaml" {
			assert.Equal(t, "Not read: pods: you lack the right\n", errOut.String(), format)
		}
	}
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	require.NoError(t, printReport(&tool{IOStreams: streams}, reportFlags{}, v, nil, nil))
	assert.Equal(t, "There are no rows.\n", errOut.String())
	require.NoError(t, printReport(&tool{IOStreams: streams}, reportFlags{output: "json"}, v, nil, nil))
	assert.Equal(t, "{\n  \"items\": []\n}\n", out.String(), "a script finds a list")
	v.object = nil
	assert.ErrorContains(t, printReport(&tool{IOStreams: streams}, reportFlags{output: "name"}, v, rows, nil), "these rows are no objects")
}
