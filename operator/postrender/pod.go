package postrender

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// podOf finds the pod an object is or makes.
func podOf(obj *unstructured.Unstructured) (pod map[string]any, found bool) {
	where := map[string][]string{
		wire.KindPod: {}, "PodTemplate": {"template"},
		"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
		"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Job": {"spec", "template"},
		"CronJob": {"spec", "jobTemplate", "spec", "template"},
	}
	at, known := where[obj.GetKind()]
	if !known {
		return nil, false
	}
	field, _, _ := unstructured.NestedFieldNoCopy(obj.Object, at...)
	pod, found = field.(map[string]any)
	return pod, found
}

// containersOf are the containers and init containers of a pod.
func containersOf(pod *unstructured.Unstructured) (out []map[string]any) {
	for _, field := range []string{"containers", "initContainers"} {
		list, _, _ := unstructured.NestedFieldNoCopy(pod.Object, "spec", field)
		out = append(out, mapsIn(list)...)
	}
	return out
}

func addPullSecrets(pod *unstructured.Unstructured, names []string) {
	if len(names) == 0 {
		return
	}
	spec := ensureMap(pod.Object, "spec")
	secrets, _ := spec["imagePullSecrets"].([]any)
	for _, name := range names {
		if !slices.ContainsFunc(mapsIn(secrets), func(s map[string]any) bool { return s["name"] == name }) {
			secrets = append(secrets, map[string]any{"name": name})
		}
	}
	spec["imagePullSecrets"] = secrets
}

// mapsIn are the elements of a list that are maps; the API server refuses others.
func mapsIn(list any) (out []map[string]any) {
	elements, _ := list.([]any)
	for _, e := range elements {
		if m, isMap := e.(map[string]any); isMap {
			out = append(out, m)
		}
	}
	return out
}

// ensureMap is the map at a key; it makes one where there is none.
func ensureMap(m map[string]any, key string) map[string]any {
	inner, isMap := m[key].(map[string]any)
	if !isMap {
		inner = map[string]any{}
		m[key] = inner
	}
	return inner
}
