package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const portalNamespace = "portal.namespace"

// doorRules are what the front door gets outside of the release's namespace, by the name of
// the Role or ClusterRole, each of which is bound to its account alone.
func doorRules(t *testing.T, s scenario) map[string][]rbacv1.PolicyRule {
	t.Helper()
	rules, bound := map[string][]rbacv1.PolicyRule{}, map[string]bool{}
	for _, obj := range objects(t, s) {
		if obj.GetLabels()["app"] != doorName || obj.GetNamespace() == releaseNamespace {
			continue
		}
		key := strings.TrimPrefix(obj.GetNamespace()+"/"+obj.GetName(), "/")
		switch obj.GetKind() {
		case "Role", "ClusterRole":
			rules[key] = typed[rbacv1.ClusterRole](t, obj).Rules
		case "RoleBinding", "ClusterRoleBinding":
			binding := typed[rbacv1.ClusterRoleBinding](t, obj)
			require.Equal(t, []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: doorName, Namespace: releaseNamespace}}, binding.Subjects)
			require.Equal(t, obj.GetName(), binding.RoleRef.Name)
			require.Equal(t, strings.TrimSuffix(obj.GetKind(), "Binding"), binding.RoleRef.Kind)
			bound[key] = true
		}
	}
	for key := range rules {
		require.True(t, bound[key], key)
	}
	require.Len(t, bound, len(rules))
	return rules
}

// TestPortalRights: where people make desktops the front door may make and delete sessions
// and say how long the homes are kept that these leave, and where they log in it reads what is on offer. In mode Password it may do neither.
func TestPortalRights(t *testing.T) {
	t.Parallel()
	rule := func(resources, verbs string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{"vdi.kasm.io"}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs)}}
	}
	sessions, catalogue, makes := rule("vdisessions", "get list watch patch"), rule("vditemplates vdiquotas vdiusages", "list watch"), rule("vdisessions", "create delete")
	makes = append(makes, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"list", "watch", "patch"}})
	const everywhere, reads = "vdi-system:" + doorName, "vdi-system:" + doorName + ":catalogue"
	for name, c := range map[string]struct {
		s    scenario
		want map[string][]rbacv1.PolicyRule
	}{
		"Password":  {operator(nil), map[string][]rbacv1.PolicyRule{everywhere: sessions}},
		"no portal": {local(nil), map[string][]rbacv1.PolicyRule{everywhere: sessions, reads: catalogue}},
		"Local": {
			local(map[string]string{portalNamespace: "team-a"}),
			map[string][]rbacv1.PolicyRule{everywhere: sessions, reads: catalogue, "team-a/vdi-frontdoor-portal": makes},
		},
		"OIDC in some namespaces": {
			oidc(map[string]string{portalNamespace: "team-b", "watchNamespaces": "{team-a,team-b}"}),
			map[string][]rbacv1.PolicyRule{"team-a/" + doorName: sessions, "team-b/" + doorName: sessions, reads: catalogue, "team-b/vdi-frontdoor-portal": makes},
		},
		"others make the roles": {local(map[string]string{portalNamespace: "team-a", "rbac.create": "false"}), map[string][]rbacv1.PolicyRule{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, doorRules(t, c.s))
		})
	}
}

// TestPortalFlag: the front door hears of a namespace only where there is one.
func TestPortalFlag(t *testing.T) {
	t.Parallel()
	args := func(s scenario) []string {
		all := find[appsv1.Deployment](t, objects(t, s), "Deployment", doorName).Spec.Template.Spec.Containers[0].Args
		return slices.DeleteFunc(slices.Clone(all), func(a string) bool { return !strings.HasPrefix(a, "--portal") })
	}
	require.Equal(t, []string{"--portal-namespace=team-a"}, args(local(map[string]string{portalNamespace: "team-a"})))
	require.Equal(t, []string{"--portal-namespace=team-a"}, args(oidc(map[string]string{portalNamespace: "team-a"})))
	for _, s := range []scenario{operator(nil), local(nil), local(map[string]string{"portal": "null"})} {
		require.Empty(t, args(s))
	}
}

// TestPortalRefuses: a namespace in which nothing could start, or that the mode ignores.
func TestPortalRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"mode Password": {map[string]string{portalNamespace: "a"}, `portal.namespace is "a", but access.mode is Password, which ignores it: set access.mode to OIDC or Local, or leave it out`},
		"the platform's": {
			localMode(map[string]string{portalNamespace: releaseNamespace}),
			`portal.namespace is "vdi-system", which is the cluster's or the platform's, and no session may start there: name a namespace for sessions, e.g. vdi-sessions`,
		},
		"the cluster's": {localMode(map[string]string{portalNamespace: "kube-system"}), `portal.namespace is "kube-system", which is the cluster's or the platform's`},
		"not served": {
			localMode(map[string]string{portalNamespace: "c", "watchNamespaces": "{a,b}"}),
			`portal.namespace is "c", but watchNamespaces does not hold it, so that no desktop would start there: name one of a, b, or add it to the list`,
		},
		"no name":    {localMode(map[string]string{portalNamespace: "A_b"}), `portal.namespace is "A_b", which is no name of a namespace: lower-case letters, digits and -: write e.g. vdi-sessions`},
		"too long":   {localMode(map[string]string{portalNamespace: strings.Repeat("a", 64)}), "at '/portal/namespace': maxLength"},
		"flag twice": {localMode(map[string]string{portalNamespace: "a", "frontDoor.extraArgs": "{--portal-namespace=b}"}), `frontDoor.extraArgs[0] is "--portal-namespace=b", a flag that the chart sets already`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, operator(c.set))
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := render(t, platformChart(map[string]string{"vdi-operator.portal.namespace": "a"}))
	require.ErrorContains(t, err, `vdi-operator.portal.namespace is "a"`, "as one writes it for the umbrella")
}

// TestPortalNotes: where people make desktops, instead of a session by kubectl, or how to let
// them; nothing of it in mode Password.
func TestPortalNotes(t *testing.T) {
	t.Parallel()
	const create, label = "kubectl create namespace", "kubectl label namespace vdi-sessions pod-security.kubernetes.io/enforce=restricted vdi.kasm.io/sessions=true\n"
	const session, unbounded = "kind: VDISession", "Without a VDIQuota everybody may make any number of desktops.\n"
	notes := notesOf(t, local(map[string]string{portalNamespace: "vdi-sessions"}))
	require.Contains(t, notes, "EOF\n\n3. A desktop: people log in at https://portal.vdi.example.com, as step 5 says, and choose New desktop.\n"+
		"It is made in namespace vdi-sessions. "+unbounded+"\n4. ")
	require.Contains(t, notes, "\n5. Log in there, or at https://portal.vdi.example.com")
	require.NotContains(t, notes, session, "administrators make none in the portal's namespace")
	require.NotContains(t, notes, "To let people")
	require.Contains(t, notes, label)
	require.NotContains(t, notes, create, "it is there")
	notes = notesOf(t, oidc(nil))
	require.Contains(t, notes, "To let people make desktops of their own at https://auth.vdi.example.com: --set portal.namespace=vdi-sessions\n")
	require.Contains(t, notes, create+" vdi-sessions\n"+label)
	require.Contains(t, notes, session)
	require.NotContains(t, notes, unbounded)
	notes = notesOf(t, operator(nil))
	require.Contains(t, notes, "\n\n3. A session: one desktop of one user.\n")
	require.NotContains(t, notes, "desktops of their own")
	require.Contains(t, notesOf(t, oidc(map[string]string{portalNamespace: "a"})), "people log in at https://auth.vdi.example.com,")
	require.Contains(t, notesOf(t, platformChart(nil, inRepository("values", "local.yaml"))), "It is made in namespace vdi-sessions. "+unbounded)

	const restricted, sessions = " pod-security.kubernetes.io/enforce=restricted", " vdi.kasm.io/sessions=true\n"
	require.Contains(t, notesOf(t, local(map[string]string{portalNamespace: "b", "watchNamespaces": "{a,b}"})), "kubectl label namespace b"+restricted+sessions)
	require.Contains(t, notesOf(t, local(map[string]string{"watchNamespaces": "{a,b}"})), "kubectl label namespace a"+restricted+"\n", "a list needs no label")
}
