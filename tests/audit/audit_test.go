package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const line = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","requestURI":"/api/v1/x","verb":"patch",` +
	`"user":{"username":"u"},"objectRef":{"resource":"pods","apiGroup":"g","subresource":"status","namespace":"n","name":"p"},` +
	`"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-23T04:53:13.024020Z","stageTimestamp":"2026-11-23T04:53:13.028125Z"}` + "\n"

func TestRead(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	require.NoError(t, os.WriteFile(log, []byte(line+line+`{"half`), 0o600))
	requests, end, err := Of(log, "u", 0)
	require.NoError(t, err)
	require.Equal(t, int64(2*len(line)), end, "what is half written is read next time")
	require.Len(t, requests, 2)
	q := requests[0]
	require.Equal(t, []any{"u", "g", "pods/status", "n", "p", 200}, []any{q.User, q.Group, q.Resource, q.Namespace, q.Name, q.Code})
	require.Equal(t, int64(4105), q.Done.Sub(q.Received).Microseconds())
	requests, _, err = Of(log, "u", int64(len(line)))
	require.NoError(t, err)
	require.Len(t, requests, 1)

	require.NoError(t, os.WriteFile(log, []byte("{\n"), 0o600))
	_, err = Read(log, 0, func(Request) {})
	require.Error(t, err)
}

const roles = `
- {kind: Role, metadata: {name: own, namespace: system}, rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [a, b], verbs: [get, patch]}]}
- {kind: Role, metadata: {name: own, namespace: other}, rules: [{apiGroups: [""], resources: [secrets], verbs: [list]}]}
- {kind: ClusterRole, metadata: {name: all}, rules: [{apiGroups: [vdi.kasm.io], resources: [vdisessions], verbs: [list, create]}]}
- {kind: RoleBinding, metadata: {name: own, namespace: system}, roleRef: {kind: Role, name: own}, subjects: [{kind: ServiceAccount, name: operator, namespace: system}]}
- {kind: ClusterRoleBinding, metadata: {name: all}, roleRef: {kind: ClusterRole, name: all}, subjects: [{kind: ServiceAccount, name: operator, namespace: system}]}
- {kind: ClusterRoleBinding, metadata: {name: foreign}, roleRef: {kind: ClusterRole, name: all}, subjects: [{kind: ServiceAccount, name: operator, namespace: other}]}
`

func TestRights(t *testing.T) {
	var manifests []map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(roles), &manifests))
	objects := []*unstructured.Unstructured{}
	for _, m := range manifests {
		objects = append(objects, &unstructured.Unstructured{Object: m})
	}
	granted, err := Granted(objects, "system", "operator")
	require.NoError(t, err)
	texts := func(rights []Right) (all []string) {
		for _, r := range rights {
			all = append(all, r.String())
		}
		return all
	}
	require.Equal(t, []string{
		"get configmaps a in system", "patch configmaps a in system", "get configmaps b in system", "patch configmaps b in system",
		"list vdisessions.vdi.kasm.io", "create vdisessions.vdi.kasm.io",
	}, texts(granted))

	unused := Unused(granted, []Request{
		{Verb: "get", Resource: "configmaps", Namespace: "system", Name: "a", Code: 404},
		{Verb: "patch", Resource: "configmaps", Namespace: "elsewhere", Name: "a", Code: 200},
		{Verb: "get", Resource: "configmaps", Namespace: "system", Name: "b", Code: 403, Decision: "forbid"},
		{Verb: "list", Group: "vdi.kasm.io", Resource: "vdisessions/status", Code: 200},
		{Verb: "patch", Group: "vdi.kasm.io", Resource: "vdisessions", Namespace: "n", Name: "s", Code: 201},
	})
	require.Equal(t, []string{
		"patch configmaps a in system", "get configmaps b in system", "patch configmaps b in system", "list vdisessions.vdi.kasm.io",
	}, texts(unused))

	_, err = Granted(objects[3:], "system", "operator")
	require.ErrorContains(t, err, "binding own names Role own, which is not rendered")
}
