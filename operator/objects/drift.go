package objects

import (
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// Drifted reports whether a live object differs from the rendered one. Labels and
// annotations that others added do not count. In the spec every difference does,
// also an added field: one more key in a policy's selector makes it choose no pod.
func Drifted(rendered, live map[string]any) bool {
	for _, field := range []string{"labels", "annotations"} {
		want, _, _ := unstructured.NestedFieldNoCopy(rendered, "metadata", field)
		have, _, _ := unstructured.NestedFieldNoCopy(live, "metadata", field)
		if want != nil && !Covers(have, want) {
			return true
		}
	}
	content := contentField(rendered)
	return !Covers(live[content], rendered[content]) || hasMore(rendered, live)
}

// contentField is where an object says what it is for.
func contentField(object map[string]any) string {
	if object["kind"] == wire.KindConfigMap {
		return "data"
	}
	return "spec"
}

// hasMore reports whether the live spec has fields that neither we rendered nor
// the API server fills in.
func hasMore(rendered, live map[string]any) bool {
	return !Covers(specWithServerFields(rendered, live), live[contentField(rendered)])
}

// specWithServerFields is the rendered spec and what the API server adds to it.
func specWithServerFields(rendered, live map[string]any) map[string]any {
	content := contentField(rendered)
	want, _ := rendered[content].(map[string]any)
	have, _ := live[content].(map[string]any)
	if rendered["kind"] != wire.KindService {
		return want
	}
	full := maps.Clone(want)
	for field, usual := range serviceDefaults() {
		_, set := want[field]
		if value, found := have[field]; found && !set && (usual == nil || usual == value) {
			full[field] = value
		}
	}
	return full
}

// serviceDefaults are the fields of a Service's spec that the API server fills
// in; nil stands for any value.
func serviceDefaults() map[string]any {
	return map[string]any{
		"clusterIP": nil, "clusterIPs": nil, "ipFamilies": nil, "ipFamilyPolicy": nil,
		"internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP",
	}
}

// Covers reports whether have holds everything in want.
func Covers(have, want any) bool {
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
		if !Covers(h[key], value) {
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
		if !Covers(h[i], want[i]) {
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
