package renderer

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/renderer/manifest"
)

// Most golden sessions are written as what differs from the session "defaults", so
// that a line of the chart changes few files. A difference loses nothing: with it,
// "defaults" becomes the other session again (TestDifferenceLosesNothing).
//
// A map holds the keys that differ. So does a list: its keys are the elements' names,
// or the elements themselves where they are texts and numbers, or else their [index].
const (
	removed = "(removed)" // this key or element is not there
	after   = "(after)"   // this element is new, and stands behind that one
	order   = "(order)"   // the elements that both have stand in another order
	first   = "(first)"
)

// difference is what turns base into other, nil where they are equal.
func difference(base, other any) any {
	if reflect.DeepEqual(base, other) {
		return nil
	}
	baseMap, isMap := base.(map[string]any)
	otherMap, alsoMap := other.(map[string]any)
	if isMap && alsoMap {
		return mapDifference(baseMap, otherMap)
	}
	baseList, isList := base.([]any)
	otherList, alsoList := other.([]any)
	if isList && alsoList && len(baseList) > 0 && len(otherList) > 0 {
		return listDifference(baseList, otherList)
	}
	return other
}

func mapDifference(base, other map[string]any) map[string]any {
	out := map[string]any{}
	for key := range base {
		if _, found := other[key]; !found {
			out[key] = removed
		}
	}
	for key, value := range other {
		before, found := base[key]
		switch change := difference(before, value); {
		case !found:
			out[key] = value
		case change != nil:
			out[key] = change
		}
	}
	return out
}

func listDifference(base, other []any) map[string]any {
	baseIDs, otherIDs := idsOf(base, other)
	out := mapDifference(byID(base, baseIDs), byID(other, otherIDs))
	stays := func(id string) bool { return slices.Contains(baseIDs, id) && slices.Contains(otherIDs, id) }
	leaves := func(id string) bool { return !stays(id) }
	if !slices.Equal(slices.DeleteFunc(slices.Clone(baseIDs), leaves), slices.DeleteFunc(slices.Clone(otherIDs), leaves)) {
		out[order] = anys(otherIDs)
	}
	for i, id := range otherIDs {
		if stays(id) {
			continue
		}
		behind := first
		if i > 0 {
			behind = otherIDs[i-1]
		}
		out[id] = added(other[i], behind)
	}
	return out
}

// added marks an element that is new, and says where.
func added(element any, behind string) any {
	fields, isMap := element.(map[string]any)
	if !isMap {
		return after + " " + behind
	}
	marked := maps.Clone(fields)
	marked[after] = behind
	return marked
}

func byID(list []any, ids []string) map[string]any {
	out := map[string]any{}
	for i, id := range ids {
		out[id] = list[i]
	}
	return out
}

// idsOf name the elements of two lists in one way.
func idsOf(base, other []any) (baseIDs, otherIDs []string) {
	for _, way := range []func(int, any) string{nameOf, scalarOf, indexOf} {
		baseIDs, otherIDs = idsBy(way, base), idsBy(way, other)
		if areUnique(baseIDs) && areUnique(otherIDs) {
			break
		}
	}
	return baseIDs, otherIDs
}

func idsBy(way func(int, any) string, list []any) (ids []string) {
	for i, element := range list {
		ids = append(ids, way(i, element))
	}
	return ids
}

func areUnique(ids []string) bool {
	sorted := slices.Sorted(slices.Values(ids))
	return !slices.Contains(ids, "") && len(slices.Compact(sorted)) == len(ids)
}

// nameOf is an element's name; the objects of a session have one of each kind.
func nameOf(_ int, element any) string {
	fields, _ := element.(map[string]any)
	return cmp.Or(manifest.Text(fields["kind"]), manifest.Text(fields["name"]))
}

func scalarOf(_ int, element any) string {
	switch element.(type) {
	case string, int64, bool:
		return fmt.Sprint(element)
	}
	return ""
}

func indexOf(i int, _ any) string { return fmt.Sprintf("[%d]", i) }

// applied is base with a difference.
func applied(base, change any) any {
	changes, isMap := change.(map[string]any)
	if !isMap {
		return change
	}
	switch base := base.(type) {
	case map[string]any:
		return appliedToMap(base, changes)
	case []any:
		return appliedToList(base, changes)
	}
	return change
}

func appliedToMap(base, changes map[string]any) map[string]any {
	out := maps.Clone(base)
	for key, change := range changes {
		before, found := base[key]
		switch {
		case change == removed:
			delete(out, key)
		case found:
			out[key] = applied(before, change)
		default:
			out[key] = change
		}
	}
	return out
}

func appliedToList(base []any, changes map[string]any) []any {
	ids := idsBy(wayOf(base, changes), base)
	elements := byID(base, ids)
	for id, change := range changes {
		switch _, isNew := placeOf(change); {
		case id == order:
			ids = textsAt(values{"": change}, "")
		case change == removed:
			ids = slices.DeleteFunc(ids, func(other string) bool { return other == id })
		case !isNew:
			elements[id] = applied(elements[id], change)
		default:
			elements[id] = newElement(base[0], id, change)
		}
	}
	ids = withAdded(ids, changes)
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = elements[id]
	}
	return out
}

// wayOf is how the list's elements were named in a difference.
func wayOf(base []any, changes map[string]any) func(int, any) string {
	for id := range changes {
		if strings.HasPrefix(id, "[") {
			return indexOf
		}
	}
	if nameOf(0, base[0]) != "" {
		return nameOf
	}
	return scalarOf
}

// placeOf is behind which element a new one stands.
func placeOf(change any) (behind string, isNew bool) {
	switch change := change.(type) {
	case map[string]any:
		behind, isNew = change[after].(string)
	case string:
		behind, isNew = strings.CutPrefix(change, after+" ")
	}
	return behind, isNew
}

// newElement is like its neighbours: an object, a text or a number.
func newElement(neighbour any, id string, change any) any {
	if fields, isMap := change.(map[string]any); isMap {
		element := maps.Clone(fields)
		delete(element, after)
		return element
	}
	if _, isText := neighbour.(string); isText {
		return id
	}
	var element int64
	_, _ = fmt.Sscan(id, &element)
	return element
}

// withAdded puts the new elements behind those that they name, which may be new, too.
func withAdded(ids []string, changes map[string]any) []string {
	for grown := true; grown; {
		grown = false
		for id, change := range changes {
			behind, isNew := placeOf(change)
			i := slices.Index(ids, behind)
			if !isNew || slices.Contains(ids, id) || i < 0 && behind != first {
				continue
			}
			ids, grown = slices.Insert(ids, i+1, id), true
		}
	}
	return ids
}

func TestDifference(t *testing.T) {
	t.Parallel()
	base := `{a: {same: 1, gone: 2, other: 3}, env: [{name: A, value: "1"}, {name: B, value: "2"}, {name: C}], rules: [{to: x}, {to: y}], texts: [a, b], numbers: [1, 2]}`
	for name, c := range map[string]struct{ other, want string }{
		"nothing":         {base, `null`},
		"a field":         {strings.Replace(base, "other: 3", "other: 4", 1), `{a: {other: 4}}`},
		"a removed one":   {strings.Replace(base, "gone: 2, ", "", 1), `{a: {gone: (removed)}}`},
		"a new one":       {strings.Replace(base, "gone: 2", "gone: 2, new: {x: y}", 1), `{a: {new: {x: y}}}`},
		"an element":      {strings.Replace(base, `"2"`, `"3"`, 1), `{env: {B: {value: "3"}}}`},
		"a removed, too":  {strings.Replace(base, `{name: A, value: "1"}, `, "", 1), `{env: {A: (removed)}}`},
		"two new ones":    {strings.Replace(base, `{name: C}`, `{name: D}, {name: E}, {name: C}`, 1), `{env: {D: {name: D, (after): B}, E: {name: E, (after): D}}}`},
		"a new first one": {strings.Replace(base, `{name: A`, `{name: D}, {name: A`, 1), `{env: {D: {name: D, (after): (first)}}}`},
		"another order":   {strings.Replace(base, `[a, b]`, `[b, a]`, 1), `{texts: {(order): [b, a]}}`},
		"a text":          {strings.Replace(base, `[a, b]`, `[a, c, b]`, 1), `{texts: {c: (after) a}}`},
		"a number":        {strings.Replace(base, `[1, 2]`, `[1, 2, 3]`, 1), `{numbers: {"3": (after) 2}}`},
		"without names":   {strings.Replace(base, `{to: y}`, `{to: z}, {to: y}`, 1), `{rules: {"[1]": {to: z}, "[2]": {to: y, (after): "[1]"}}}`},
		"an empty list":   {strings.Replace(base, `[a, b]`, `[]`, 1), `{texts: []}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, other, want := fromYAML(t, base), fromYAML(t, c.other), fromYAML(t, c.want)
			assert.Equal(t, want, difference(before, other))
			if want != nil {
				assert.Equal(t, other, applied(before, want))
			}
		})
	}
}

// fromYAML reads numbers as rendered objects have them.
func fromYAML(t *testing.T, text string) any {
	t.Helper()
	var doc struct {
		Content any `json:"content"`
	}
	require.NoError(t, yaml.Unmarshal([]byte("content: "+text), &doc))
	return wholeNumbers(doc.Content)
}

func wholeNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = wholeNumbers(v[key])
		}
	}
	return v
}

// TestDifferenceLosesNothing: two renderings with one difference are one rendering.
func TestDifferenceLosesNothing(t *testing.T) {
	r, inputs := newRenderer(t), goldenInputs(t)
	base := renderedObjects(t, r, inputs["defaults"])
	for name, in := range inputs {
		got, err := r.Render(in)
		if err != nil {
			continue
		}
		other := objectsOf(got)
		change := difference(base, other)
		if change == nil {
			change = map[string]any{}
		}
		assert.Equal(t, any(other), applied(any(base), change), name)
	}
}
