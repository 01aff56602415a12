package charts

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestNodesAreReadByValue: setting and right come and go together, in both modes.
func TestNodesAreReadByValue(t *testing.T) {
	t.Parallel()
	namespaced := map[string]string{"watchNamespaces[0]": "desktops"}
	for name, set := range map[string]map[string]string{"everywhere": {}, "namespaced": namespaced} {
		objs := objects(t, operator(set))
		require.True(t, settingsOf(t, objs).Encoder.ReadNodes, name)
		require.Equal(t, []string{"list", "watch"}, rightsTo(t, objs, "nodes"), name)

		set["encoder.readNodes"] = "false"
		objs = objects(t, operator(set))
		require.False(t, settingsOf(t, objs).Encoder.ReadNodes, name)
		require.Empty(t, rightsTo(t, objs, "nodes"), name)
	}
}

// rightsTo are the verbs of all rules that name a resource of the core group, but for people's
// roles: what administrators list is no right of the operator's.
func rightsTo(t *testing.T, objs []*unstructured.Unstructured, resource string) (verbs []string) {
	t.Helper()
	for _, obj := range ofKind(objs, "Role", "ClusterRole") {
		if isForPeople(obj.GetName()) {
			continue
		}
		for _, rule := range typed[rbacv1.ClusterRole](t, obj).Rules {
			if slices.Contains(rule.APIGroups, "") && slices.Contains(rule.Resources, resource) {
				verbs = append(verbs, rule.Verbs...)
			}
		}
	}
	return verbs
}
