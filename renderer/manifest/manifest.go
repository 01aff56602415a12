// Package manifest reads and changes objects that are not typed, as charts render them.
// Everything here is pure; values of another type than expected count as absent.
package manifest

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// AddPullSecrets adds those that a pod does not name yet.
func AddPullSecrets(pod *unstructured.Unstructured, names []string) {
	if len(names) == 0 {
		return
	}
	spec := EnsureMap(pod.Object, "spec")
	secrets, _ := spec["imagePullSecrets"].([]any)
	for _, name := range names {
		if !slices.ContainsFunc(Maps(secrets), func(s map[string]any) bool { return s["name"] == name }) {
			secrets = append(secrets, map[string]any{"name": name})
		}
	}
	spec["imagePullSecrets"] = secrets
}

// Containers are the containers and init containers of a pod.
func Containers(pod *unstructured.Unstructured) []map[string]any {
	return append(Maps(Nested(pod.Object, "spec", "containers")), Maps(Nested(pod.Object, "spec", "initContainers"))...)
}

// Maps are the elements of a list that are maps; the guard, and the API server, refuse others.
func Maps(list any) (out []map[string]any) {
	elements, _ := list.([]any)
	for _, e := range elements {
		if m, isMap := e.(map[string]any); isMap {
			out = append(out, m)
		}
	}
	return out
}

// Nested is the value at a path, nil if there is none.
func Nested(m map[string]any, path ...string) any {
	var at any = m
	for _, key := range path {
		next, _ := at.(map[string]any)
		at = next[key]
	}
	return at
}

// EnsureMap is the map at a key; it makes one where there is none.
func EnsureMap(m map[string]any, key string) map[string]any {
	inner, isMap := m[key].(map[string]any)
	if !isMap {
		inner = map[string]any{}
		m[key] = inner
	}
	return inner
}

// Text is a value that is a text; "" for others.
func Text(v any) string {
	s, _ := v.(string)
	return s
}
