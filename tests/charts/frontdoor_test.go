package charts

import (
	"flag"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/vdi-platform/vdi-platform/operator/frontdoor"
	"github.com/vdi-platform/vdi-platform/operator/frontdoor/ended"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

const doorName = "vdi-frontdoor"

// oidc is the operator's chart with single sign-on.
func oidc(set map[string]string) scenario {
	all := without()
	maps.Copy(all, map[string]string{"frontDoor.routes": "Always", "access.oidc.caBundle.configMap": "authority"})
	maps.Copy(all, set)
	return operator(all)
}

func withoutDoor(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(objs, func(obj *unstructured.Unstructured) bool { return obj.GetLabels()["app"] == doorName })
}

// TestDoorFlags: the front door itself takes the flags, in every scenario, and
// each value reaches its flag.
func TestDoorFlags(t *testing.T) {
	t.Parallel()
	parse := func(s scenario) frontdoor.Flags {
		container := find[appsv1.Deployment](t, objects(t, s), "Deployment", doorName).Spec.Template.Spec.Containers[0]
		require.Equal(t, []string{"/usr/local/bin/vdi-frontdoor"}, container.Command)
		var f frontdoor.Flags
		set := flag.NewFlagSet(doorName, flag.ContinueOnError)
		f.Register(set)
		require.NoError(t, set.Parse(container.Args))
		require.Empty(t, set.Args())
		return f
	}
	inPasswordMode := parse(operator(nil))
	require.Empty(t, inPasswordMode.OIDCClientSecretFile)
	f := parse(oidc(map[string]string{
		"watchNamespaces": "{team-a,team-b}", "logLevel": "debug", "frontDoor.loginLifetime": "2h", "access.oidc.scopes": "{openid,groups}",
	}))
	require.Equal(t, "team-a,team-b", f.WatchNamespaces)
	require.Equal(t, "debug", f.LogLevel)
	require.Equal(t, "2h0m0s", f.LoginLifetime.String())
	require.Equal(t, "openid groups", f.OIDCScopes)
	require.Equal(t, "/etc/vdi-frontdoor/oidc/client-secret", f.OIDCClientSecretFile)
	require.Equal(t, []string{"vdi-frontdoor-ended-logins", "vdi-frontdoor-public-keys"}, []string{f.EndedLogins, f.StatementKeys})
	require.Equal(t, []string{":8080", ":8081", ":8082"}, []string{f.Listen, f.AuthListen, f.MetricsListen})
}

// TestAccessConfig: what operator and front door are told about people.
func TestAccessConfig(t *testing.T) {
	t.Parallel()
	access := func(s scenario) platform.Access {
		config, err := platform.ParseConfig([]byte(find[corev1.ConfigMap](t, objects(t, s), "ConfigMap", operatorName+"-config").Data["config.yaml"]))
		require.NoError(t, err)
		return config.Access
	}
	require.Equal(t, platform.Access{Mode: wire.AccessPassword}, access(operator(nil)))
	want := platform.Access{
		Mode: wire.AccessOIDC, ForwardAuth: "http://vdi-frontdoor.vdi-system.svc:8081/auth",
		OIDC: platform.OIDC{IssuerURL: "https://login.example.com/realms/vdi", ClientID: "vdi", UserClaim: "sub"},
	}
	require.Equal(t, want, access(oidc(map[string]string{"access.oidc.userClaim": "sub"})))
	require.Equal(t, want, access(oidc(map[string]string{"access.oidc.userClaim": "sub", "access.oidc.groupsClaim": "null", "access.oidc.onlyGroups": "null"})), "values of earlier releases")
	want.OIDC.GroupsClaim, want.OIDC.OnlyGroups = "roles", []string{"/artists", "CN=a b"}
	require.Equal(t, want, access(oidc(map[string]string{"access.oidc.userClaim": "sub", "access.oidc.groupsClaim": "roles", "access.oidc.onlyGroups": "{/artists,CN=a b}"})))
}

// TestDoorFiles: secrets come as files, from where the values say.
func TestDoorFiles(t *testing.T) {
	t.Parallel()
	pod := find[appsv1.Deployment](t, objects(t, oidc(map[string]string{"frontDoor.keys.existingSecret": "mine"})), "Deployment", doorName).Spec.Template.Spec
	volumes := map[string]corev1.VolumeSource{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v.VolumeSource
	}
	require.Equal(t, "mine", volumes["keys"].Secret.SecretName)
	require.Equal(t, "vdi-oidc", volumes["oidc"].Secret.SecretName)
	require.Equal(t, []corev1.KeyToPath{{Key: "client-secret", Path: "client-secret"}}, volumes["oidc"].Secret.Items)
	require.Equal(t, "authority", volumes["authorities"].ConfigMap.Name)
	for _, variable := range pod.Containers[0].Env {
		require.Contains(t, []string{"POD_NAMESPACE", "SSL_CERT_DIR"}, variable.Name, "no secret in the environment")
	}
}

// TestStatementKeysJob: the keys are made before the pods that read them, by a Job
// that can neither list nor change Secrets; whoever brings keys needs no Job.
func TestStatementKeysJob(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(nil))
	job := jobs(t, objs)["keys"]
	require.Equal(t, "pre-install,pre-upgrade", job.Annotations[hookAnnotation])
	container := job.Spec.Template.Spec.Containers[0]
	require.Equal(t, []string{"/usr/local/bin/vdi-frontdoor", "make-keys", "--name=vdi-frontdoor-keys"}, slices.Concat(container.Command, container.Args))
	require.Equal(t, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"vdi-frontdoor-keys"}, Verbs: []string{"get"}},
	}, find[rbacv1.Role](t, objs, "Role", operatorName+"-keys").Rules)
	require.NotContains(t, jobs(t, objects(t, operator(map[string]string{"frontDoor.keys.existingSecret": "mine"}))), "keys")
}

// TestDoorRights: two fields of sessions (see the policy), ConfigMaps by name, no Secret.
func TestDoorRights(t *testing.T) {
	t.Parallel()
	sessions := []rbacv1.PolicyRule{{APIGroups: []string{"vdi.kasm.io"}, Resources: []string{"vdisessions"}, Verbs: []string{"get", "list", "watch", "patch"}}}
	objs := objects(t, operator(nil))
	require.Equal(t, sessions, find[rbacv1.ClusterRole](t, objs, "ClusterRole", "vdi-system:"+doorName).Rules)
	require.Equal(t, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"vdi-frontdoor-ended-logins"}, Verbs: []string{"list", "watch", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: endedLogins(), Verbs: []string{"get", "list", "watch", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"vdi-frontdoor-public-keys"}, Verbs: []string{"get", "patch"}},
	}, find[rbacv1.Role](t, objs, "Role", doorName).Rules)

	var namespaces []string
	for _, obj := range ofKind(objects(t, operator(map[string]string{"watchNamespaces": "{team-a,team-b}"})), "Role", "ClusterRole") {
		if obj.GetLabels()["app"] == doorName && obj.GetNamespace() != releaseNamespace {
			require.Equal(t, sessions, typed[rbacv1.Role](t, obj).Rules)
			namespaces = append(namespaces, obj.GetNamespace())
		}
	}
	require.ElementsMatch(t, []string{"team-a", "team-b"}, namespaces)
}

// TestOperatorRightsFollowMode: the kinds of mode OIDC are the operator's only there.
func TestOperatorRightsFollowMode(t *testing.T) {
	t.Parallel()
	may := func(s scenario, resource string) bool {
		rules := find[rbacv1.ClusterRole](t, objects(t, s), "ClusterRole", "vdi-operator:sessions").Rules
		return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, resource) })
	}
	for _, resource := range []string{"middlewares", "configmaps"} {
		require.False(t, may(operator(nil), resource), resource)
		require.True(t, may(oidc(nil), resource), resource)
	}
	args := find[appsv1.Deployment](t, objects(t, oidc(nil)), "Deployment", operatorName).Spec.Template.Spec.Containers[0].Args
	require.Contains(t, args, "--statement-keys-dir=/etc/vdi-frontdoor/public-keys")
}

// TestDoorRoutes: one matcher each, below and above every session's route; made
// where the cluster knows the kind.
func TestDoorRoutes(t *testing.T) {
	t.Parallel()
	require.Empty(t, ofKind(objects(t, operator(nil)), "IngressRoute"), "a cluster without Traefik")
	require.Empty(t, ofKind(objects(t, operator(map[string]string{"frontDoor.routes": "Never"})), "IngressRoute"))
	known := operator(nil)
	known.args = []string{"--api-versions", "traefik.io/v1alpha1/IngressRoute"}
	spec := func(s scenario) map[string]any {
		routes := ofKind(objects(t, s), "IngressRoute")
		require.Len(t, routes, 1)
		return routes[0].Object["spec"].(map[string]any)
	}
	services := []any{map[string]any{"name": doorName, "port": int64(8080)}}
	require.Equal(t, map[string]any{
		"entryPoints": []any{"websecure"}, "tls": map[string]any{},
		"routes": []any{
			map[string]any{"kind": "Rule", "match": "Host(`auth.vdi.example.com`)", "priority": int64(1000), "services": services},
			map[string]any{"kind": "Rule", "match": "HostRegexp(`^[a-z0-9-]+[.]vdi[.]example[.]com$`)", "priority": int64(1), "services": services},
		},
	}, spec(known))
	require.Equal(t, map[string]any{"certResolver": "internal", "domains": []any{map[string]any{"main": "*.vdi.example.com"}}},
		spec(operator(map[string]string{"frontDoor.routes": "Always", "sessions.tls.mode": "CertResolver", "sessions.tls.certResolver": "internal"}))["tls"])
	require.Equal(t, map[string]any{"secretName": "wildcard"},
		spec(operator(map[string]string{"frontDoor.routes": "Always", "sessions.tls.mode": "Secret", "sessions.tls.secretName": "wildcard"}))["tls"])
	require.Len(t, ofKind(objects(t, platformChart(nil)), "IngressRoute"), 1, "the umbrella brings the kind")
}

// TestDoorNetwork: people and the proxy's questions come from the proxy's pods
// alone, for the front door believes who they say the visitor is.
func TestDoorNetwork(t *testing.T) {
	t.Parallel()
	rules := func(set map[string]string) []networkingv1.NetworkPolicyIngressRule {
		return find[networkingv1.NetworkPolicy](t, objects(t, operator(set)), "NetworkPolicy", doorName).Spec.Ingress
	}
	byDefault := rules(map[string]string{"sessions.proxy.namespace": "ingress"})
	require.Len(t, byDefault, 2)
	require.Len(t, byDefault[0].From, 1)
	require.Equal(t, "ingress", byDefault[0].From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
	require.Equal(t, map[string]string{"app.kubernetes.io/name": "traefik"}, byDefault[0].From[0].PodSelector.MatchLabels)
	require.Equal(t, []string{"people", "auth"}, []string{byDefault[0].Ports[0].Port.StrVal, byDefault[0].Ports[1].Port.StrVal})
	require.Equal(t, "metrics", byDefault[1].Ports[0].Port.StrVal)
	require.NotEmpty(t, byDefault[1].From)
	require.Len(t, rules(map[string]string{"networkPolicy.metricsFrom": "null"}), 1)
	ranges := rules(map[string]string{"sessions.proxy.ranges": "{35.191.0.0/16,130.211.0.0/22}"})[0].From
	require.Len(t, ranges, 3, "beside the pods")
	require.Equal(t, []string{"35.191.0.0/16", "130.211.0.0/22"}, []string{ranges[1].IPBlock.CIDR, ranges[2].IPBlock.CIDR})
}

// TestDoorReplicas: a budget and a spread only where there is something to keep.
func TestDoorReplicas(t *testing.T) {
	t.Parallel()
	require.Empty(t, ofKind(objects(t, operator(nil)), "PodDisruptionBudget"))
	objs := objects(t, operator(map[string]string{"frontDoor.replicas": "2"}))
	budget := find[policyv1.PodDisruptionBudget](t, objs, "PodDisruptionBudget", doorName)
	deployment := find[appsv1.Deployment](t, objs, "Deployment", doorName)
	require.Equal(t, deployment.Spec.Selector, budget.Spec.Selector)
	require.EqualValues(t, 2, *deployment.Spec.Replicas)
	require.Len(t, deployment.Spec.Template.Spec.TopologySpreadConstraints, 1)
	require.Empty(t, ofKind(objects(t, operator(map[string]string{"frontDoor.replicas": "2", "frontDoor.podDisruptionBudget.enabled": "false"})), "PodDisruptionBudget"))
}

// TestDoorState: an upgrade must not bring back what has ended: no data is Helm's.
func TestDoorState(t *testing.T) {
	t.Parallel()
	for _, name := range append(endedLogins(), "vdi-frontdoor-ended-logins", "vdi-frontdoor-public-keys") {
		require.NotContains(t, find[unstructured.Unstructured](t, objects(t, operator(nil)), "ConfigMap", name).Object, "data")
	}
}

// endedLogins are the ConfigMaps that the front door writes logouts to.
func endedLogins() (names []string) {
	for n := range ended.Parts {
		names = append(names, ended.Store{Name: "vdi-frontdoor-ended-logins"}.Part(n).Name)
	}
	return names
}

// TestDoorIsItself: neither the operator's Service nor its policy finds the front
// door's pods, whatever labels are added.
func TestDoorIsItself(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{"commonLabels.app": "mine", "frontDoor.podLabels.app": "mine"}))
	labels := find[appsv1.Deployment](t, objs, "Deployment", doorName).Spec.Template.Labels
	require.Equal(t, doorName, labels["app"])
	require.Subset(t, labels, find[corev1.Service](t, objs, "Service", doorName).Spec.Selector)
	require.NotSubset(t, labels, find[corev1.Service](t, objs, "Service", operatorName).Spec.Selector)
}

// TestNotesTellTheWayIn: a password to read only where there is one.
func TestNotesTellTheWayIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s          scenario
		has, lacks string
	}{
		{operator(nil), "alice-credentials", "https://auth."},
		{oidc(nil), "https://auth.vdi.example.com", "alice-credentials"},
	} {
		notes := notesOf(t, c.s)
		require.Contains(t, notes, c.has)
		require.NotContains(t, notes, c.lacks)
		require.NotContains(t, notes, "<no value>")
	}
	require.Contains(t, notesOf(t, operator(nil)), "WARNING: the front door has no routes, because this cluster does not know Traefik's")
}
