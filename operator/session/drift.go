package session

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// drifted tells whether a live object differs from the rendered one in a field
// that was rendered. Fields the API server or others added are not compared,
// but lists are compared whole: an extra rule in a policy is drift.
func drifted(rendered, live map[string]any) bool {
	for _, path := range [][]string{{"metadata", "labels"}, {"metadata", "annotations"}, {"spec"}} {
		want, found, _ := unstructured.NestedFieldNoCopy(rendered, path...)
		if !found {
			continue
		}
		have, _, _ := unstructured.NestedFieldNoCopy(live, path...)
		if !covers(have, want) {
			return true
		}
	}
	return false
}

// covers tells whether have holds everything in want.
func covers(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		return coversMap(have, w)
	case []any:
		return coversList(have, w)
	case int64, float64, int:
		return number(have) == number(want)
	default:
		return reflect.DeepEqual(have, want)
	}
}

func coversMap(have any, want map[string]any) bool {
	h, ok := have.(map[string]any)
	if !ok {
		return len(want) == 0 && have == nil
	}
	for key, value := range want {
		if !covers(h[key], value) {
			return false
		}
	}
	return true
}

func coversList(have any, want []any) bool {
	h, ok := have.([]any)
	if !ok {
		return len(want) == 0 && have == nil
	}
	if len(h) != len(want) {
		return false
	}
	for i := range want {
		if !covers(h[i], want[i]) {
			return false
		}
	}
	return true
}

// number makes the number types of JSON and YAML decoders comparable.
func number(v any) any {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	default:
		return v
	}
}
