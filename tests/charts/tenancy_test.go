package charts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestTemplatesForEverybody: who may use which template is asked only where the grant for
// everybody can be there too, or where an administrator says that there is another. So
// nobody is locked out by an upgrade, by GitOps that keeps the roles elsewhere, or by
// another release that makes them.
func TestTemplatesForEverybody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set          map[string]string
		asked, bound bool
	}{
		"by default":                         {nil, true, true},
		"in some namespaces":                 {map[string]string{"watchNamespaces": "{team-a}"}, true, true},
		"somebody else makes the roles":      {map[string]string{"tenancy.roles.create": "false"}, false, false},
		"and has bound them":                 {map[string]string{"tenancy.roles.create": "false", "tenancy.templates.ask": "Always"}, true, false},
		"an administrator binds":             {map[string]string{"tenancy.templates.everyone": "false"}, true, false},
		"nobody is asked":                    {map[string]string{"tenancy.templates.ask": "Never"}, false, true},
		"the operator's rights are others'":  {map[string]string{"rbac.create": "false"}, true, true},
		"somebody else's admission policies": {map[string]string{"admission.enabled": "false"}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := operator(c.set)
			text, err := render(t, s)
			require.NoError(t, err)
			require.Equal(t, c.asked, strings.Contains(text, ".check('use')"))
			bound := false
			for _, o := range ofKind(objects(t, s), "ClusterRoleBinding") {
				binding := typed[rbacv1.ClusterRoleBinding](t, o)
				if binding.RoleRef.Name == "vdi-template-user" {
					bound = true
					require.Equal(t, []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}}, binding.Subjects)
				}
			}
			require.Equal(t, c.bound, bound)
		})
	}
}
