package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

// TestDoctorKnowsTheChart: what the doctor misses where it is gone is what the chart makes by
// default, no more and no less.
func TestDoctorKnowsTheChart(t *testing.T) {
	all := objects(t, scenario{chart: "../../charts/vdi-operator", set: map[string]string{"sessions.domain": "vdi.example.com"}})
	names := func(kind string, which func(*unstructured.Unstructured) bool) (names []string) {
		for _, o := range ofKind(all, kind) {
			if which(o) {
				names = append(names, o.GetName())
			}
		}
		return names
	}
	operators := func(o *unstructured.Unstructured) bool {
		return o.GetLabels()["app.kubernetes.io/component"] == "operator"
	}
	policies, bindings := names("ValidatingAdmissionPolicy", operators), names("ValidatingAdmissionPolicyBinding", operators)
	var parts []string
	for _, name := range policies {
		part, _, _ := strings.Cut(name, ".")
		parts = append(parts, part)
	}
	assert.ElementsMatch(t, doctor.Policies(), parts)
	assert.Equal(t, doctor.Passed, doctor.Guarded(policies, bindings).State)
	roles := names("ClusterRole", func(o *unstructured.Unstructured) bool {
		return strings.HasPrefix(o.GetName(), "vdi-") && !strings.Contains(o.GetName(), ":")
	})
	require.NotEmpty(t, roles)
	assert.Equal(t, doctor.Passed, doctor.Roles(roles).State)
	for i := range roles {
		assert.Equal(t, doctor.Failed, doctor.Roles(slices.Delete(slices.Clone(roles), i, i+1)).State, roles[i])
	}
}
