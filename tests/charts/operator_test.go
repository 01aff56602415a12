package charts

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/vdi-platform/vdi-platform/operator/run"
	"github.com/vdi-platform/vdi-platform/platform"
)

const operatorName = "vdi-vdi-operator" // release vdi, chart vdi-operator

// TestConfig: what the chart writes is what the operator reads, strictly.
func TestConfig(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, obj := range ofKind(objects(t, s), "ConfigMap") {
				if obj.GetLabels()["app"] != "vdi-operator" {
					continue // another chart's
				}
				data, isConfig := typed[corev1.ConfigMap](t, obj).Data["config.yaml"]
				if !isConfig {
					continue // the dashboard
				}
				_, err := platform.ParseConfig([]byte(data))
				require.NoError(t, err)
			}
		})
	}
}

// TestConfigCarriesValues: every value reaches its field.
func TestConfigCarriesValues(t *testing.T) {
	t.Parallel()
	objs := objects(t, scenarios(t)["vdi-operator-everything"])
	configMap := find[corev1.ConfigMap](t, objs, "ConfigMap", "desktops-config")
	config, err := platform.ParseConfig([]byte(configMap.Data["config.yaml"]))
	require.NoError(t, err)

	s := config.Sessions
	require.Equal(t, "desktops.example.com", s.Domain)
	require.Equal(t, "{session}-{namespace}", s.HostTemplate)
	require.EqualValues(t, 8443, s.ExternalPort)
	require.Equal(t, platform.TLSCertResolver, s.TLS.Mode)
	require.Equal(t, "internal", s.TLS.CertResolver)
	require.False(t, *s.VerifyRoute)
	require.Equal(t, "traefik.ingress.svc:8443", s.Proxy.Address)
	require.Equal(t, "ingress", s.Proxy.Namespace)
	require.Equal(t, map[string]string{"app.kubernetes.io/name": "traefik"}, s.Proxy.PodLabels)
	require.Equal(t, []string{"192.0.2.0/28"}, s.Proxy.Ranges)
	require.False(t, *s.Network.Internet)
	require.Equal(t, []string{"203.0.113.0/24"}, s.Network.DeniedRanges)
	require.Equal(t, []string{"100.64.0.0/10"}, s.Network.OpenRanges)
	require.Equal(t, platform.Allowed{
		Secrets: []string{"license"}, ConfigMaps: []string{"settings"},
		Annotations: []string{"example.com/scan", "backup.example.net/*"}, EntryPoints: []string{"internal"},
	}, s.Allowed)
	require.Equal(t, []string{"192.0.2.10/32"}, s.Network.AllowedRanges)
	require.Equal(t, "dns", s.Network.DNSNamespace)
	require.Equal(t, []string{"169.254.20.10/32"}, s.Network.DNSRanges)
	require.Equal(t, []int32{53, 5353}, s.Network.DNSPorts)
	require.Equal(t, map[string]string{"ghcr.io": "registry.example.com/ghcr"}, s.Images.Rewrite)
	require.Equal(t, []string{"registry"}, s.Images.PullSecrets)
	require.Equal(t, "http://proxy.example.com:3128", s.Egress.HTTPProxy)
	require.Equal(t, "http://proxy.example.com:3128", s.Egress.HTTPSProxy)
	require.Equal(t, "localhost,127.0.0.1,.svc", s.Egress.NoProxy)
	require.Equal(t, platform.CABundle{ConfigMap: "authorities", Key: "bundle.pem"}, s.Egress.CABundle)
	require.Equal(t, map[string]string{"team": "desktops"}, s.Labels)
	require.Equal(t, map[string]string{"example.com/note": "a desktop"}, s.Annotations)
	require.Contains(t, s.Values, "service")
	require.Len(t, s.Overlay, 2)
	require.Equal(t, []string{"nvidia.com/gpu"}, s.GPUSharing.Sliced)
	require.Equal(t, platform.TimeSlicing{
		Enabled: true, ManagePolicy: true, Namespace: "gpu-operator", ConfigMap: "sharing", Default: "shared", Policy: "gpu-cluster-policy",
		Configs: map[string]platform.Slicing{"shared": {Replicas: 4, FailRequestsGreaterThanOne: true}, "dedicated": {Replicas: 1}},
	}, config.TimeSlicing)
}

// TestConfigDefaults: the default proxy is the one of the release.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	configMap := find[corev1.ConfigMap](t, objects(t, operator(nil)), "ConfigMap", operatorName+"-config")
	config, err := platform.ParseConfig([]byte(configMap.Data["config.yaml"]))
	require.NoError(t, err)
	require.Equal(t, "vdi-traefik.vdi-system.svc:443", config.Sessions.Proxy.Address)
	require.Equal(t, releaseNamespace, config.Sessions.Proxy.Namespace)
	require.Equal(t, platform.TLSWildcard, config.Sessions.TLS.Mode)
	require.True(t, *config.Sessions.VerifyRoute)
}

// TestConfigChangeRestarts: the operator reads its configuration once.
func TestConfigChangeRestarts(t *testing.T) {
	t.Parallel()
	checksum := func(set map[string]string) string {
		deployment := find[appsv1.Deployment](t, objects(t, operator(set)), "Deployment", operatorName)
		return deployment.Spec.Template.Annotations["checksum/config"]
	}
	before := checksum(nil)
	require.NotEmpty(t, before)
	require.Equal(t, before, checksum(map[string]string{"logLevel": "debug"}))
	require.NotEqual(t, before, checksum(map[string]string{"sessions.domain": "other.example.com"}))
}

// TestFlags names every flag of the operator that the chart sets.
func TestFlags(t *testing.T) {
	t.Parallel()
	args := func(set map[string]string) []string {
		deployment := find[appsv1.Deployment](t, objects(t, operator(set)), "Deployment", operatorName)
		return deployment.Spec.Template.Spec.Containers[0].Args
	}
	require.Equal(t, []string{
		"--config=/etc/vdi/config.yaml",
		"--leader-elect=true",
		"--metrics-bind-address=:8080",
		"--health-probe-bind-address=:8081",
		"--workers=8",
		"--log-level=info",
	}, args(nil))
	require.Equal(t, []string{
		"--config=/etc/vdi/config.yaml",
		"--leader-elect=false",
		"--metrics-bind-address=:9090",
		"--health-probe-bind-address=:9091",
		"--watch-namespaces=team-a,team-b",
		"--workers=16",
		"--log-level=debug",
	}, args(map[string]string{
		"leaderElection.enabled": "false",
		"metrics.port":           "9090",
		"health.port":            "9091",
		"watchNamespaces":        "{team-a,team-b}",
		"workers":                "16",
		"logLevel":               "debug",
	}))
}

// TestOneOperatorWithoutALease: an operator that leads by nothing is gone before
// the next one starts.
func TestOneOperatorWithoutALease(t *testing.T) {
	t.Parallel()
	strategy := func(elects string) appsv1.DeploymentStrategyType {
		set := map[string]string{"leaderElection.enabled": elects}
		return find[appsv1.Deployment](t, objects(t, operator(set)), "Deployment", operatorName).Spec.Strategy.Type
	}
	require.Equal(t, appsv1.RecreateDeploymentStrategyType, strategy("false"))
	require.Empty(t, strategy("true"), "the Deployment's default")
}

// TestFlagsExist: the operator itself takes the flags, in every scenario.
func TestFlagsExist(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, obj := range ofKind(objects(t, s), "Deployment") {
				container := typed[appsv1.Deployment](t, obj).Spec.Template.Spec.Containers[0]
				if container.Name != "vdi-operator" {
					continue
				}
				var options run.Options
				flags := flag.NewFlagSet(container.Name, flag.ContinueOnError)
				options.Register(flags)
				require.NoError(t, flags.Parse(container.Args))
				require.Empty(t, flags.Args())
			}
		})
	}
}

// TestPodSecurity: every pod of the platform keeps the level "restricted",
// judged by the code of the API server.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, obj := range ofKind(objects(t, s), "Deployment", "Job", "Pod") {
				pod := podOf(t, obj)
				result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
				require.True(t, result.Allowed, "%s: %s", key(obj), result.ForbiddenDetail())
				for _, container := range pod.Spec.Containers {
					require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, key(obj))
				}
			}
		})
	}
}

// TestRBAC: no wildcard anywhere, no list or watch of Secrets by the operator.
func TestRBAC(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, obj := range ofKind(objects(t, s), "Role", "ClusterRole") {
				isOperator := obj.GetLabels()["app"] == "vdi-operator"
				for _, rule := range typed[rbacv1.ClusterRole](t, obj).Rules {
					words := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs)
					require.NotContains(t, words, "*", key(obj))
					if isOperator && slices.Contains(rule.Resources, "secrets") {
						require.Equal(t, []string{"create", "update"}, rule.Verbs, key(obj))
					}
				}
			}
		})
	}
}

// TestRBACIsBound: every role is bound, and to the account of the pods.
func TestRBACIsBound(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objs := objects(t, s)
			bound := map[string]bool{}
			for _, obj := range ofKind(objs, "RoleBinding", "ClusterRoleBinding") {
				binding := typed[rbacv1.RoleBinding](t, obj)
				if isForPeople(binding.RoleRef.Name) {
					continue
				}
				bound[binding.RoleRef.Kind+" "+binding.Namespace+"/"+binding.RoleRef.Name] = true
				require.Len(t, binding.Subjects, 1)
				require.Equal(t, releaseNamespace, binding.Subjects[0].Namespace)
				require.Contains(t, accounts(t, objs), binding.Subjects[0].Name)
			}
			for _, obj := range ofKind(objs, "Role", "ClusterRole") {
				if isForPeople(obj.GetName()) {
					continue
				}
				require.True(t, bound[key(obj)], "%s is not bound", key(obj))
			}
		})
	}
}

// isForPeople: administrators bind these roles.
func isForPeople(role string) bool {
	return slices.Contains([]string{"vdi-user", "vdi-viewer", "vdi-admin", "vdi-catalogue", "vdi-template-user"}, role)
}

func accounts(t *testing.T, objs []*unstructured.Unstructured) []string {
	t.Helper()
	var names []string
	for _, obj := range ofKind(objs, "Deployment", "Job", "Pod") {
		names = append(names, podOf(t, obj).Spec.ServiceAccountName)
	}
	return names
}

// podOf is the pod that an object is or makes.
func podOf(t *testing.T, obj *unstructured.Unstructured) corev1.PodTemplateSpec {
	t.Helper()
	switch obj.GetKind() {
	case "Deployment":
		return typed[appsv1.Deployment](t, obj).Spec.Template
	case "Job":
		return typed[batchv1.Job](t, obj).Spec.Template
	default:
		pod := typed[corev1.Pod](t, obj)
		return corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	}
}

// TestNamespacedMode: with a list of namespaces the operator may read nothing
// of all namespaces but templates, one CRD and, by value, the nodes.
func TestNamespacedMode(t *testing.T) {
	t.Parallel()
	objs := withoutDoor(withoutHooks(objects(t, scenarios(t)["vdi-operator-namespaced"])))
	clusterRoles := slices.DeleteFunc(ofKind(objs, "ClusterRole"), func(o *unstructured.Unstructured) bool { return isForPeople(o.GetName()) })
	require.Len(t, clusterRoles, 1)
	for _, rule := range typed[rbacv1.ClusterRole](t, clusterRoles[0]).Rules {
		for _, resource := range rule.Resources {
			require.Contains(t, []string{"vditemplates", "vditemplates/status", "vdiquotas", "vdiquotas/status", "vdiusages", "customresourcedefinitions", "nodes"}, resource)
		}
	}
	everywhere := find[rbacv1.ClusterRole](t, objects(t, operator(nil)), "ClusterRole", "vdi-operator:sessions").Rules
	var namespaces []string
	for _, obj := range ofKind(objs, "Role") {
		if role := typed[rbacv1.Role](t, obj); role.Namespace != releaseNamespace {
			namespaces = append(namespaces, role.Namespace)
			require.Equal(t, everywhere, role.Rules)
		}
	}
	require.ElementsMatch(t, []string{"team-a", "team-b"}, namespaces)
}

// TestServiceMonitor: made only on request, and it finds the Service.
func TestServiceMonitor(t *testing.T) {
	t.Parallel()
	require.Empty(t, ofKind(objects(t, operator(nil)), "ServiceMonitor"))
	s := operator(map[string]string{"serviceMonitor.enabled": "true", "serviceMonitor.labels.release": "prometheus"})
	s.args = []string{"--api-versions", "monitoring.coreos.com/v1/ServiceMonitor"}
	objs := objects(t, s)
	monitors := ofKind(withoutDoor(slices.Clone(objs)), "ServiceMonitor")
	require.Len(t, monitors, 1)
	require.Equal(t, "prometheus", monitors[0].GetLabels()["release"])

	selector, _, err := unstructured.NestedStringMap(monitors[0].Object, "spec", "selector", "matchLabels")
	require.NoError(t, err)
	require.Equal(t, "vdi-operator", selector["app"])
	service := find[corev1.Service](t, objs, "Service", operatorName)
	require.Subset(t, service.Labels, selector)
	endpoints, _, err := unstructured.NestedSlice(monitors[0].Object, "spec", "endpoints")
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"port": "metrics", "path": "/metrics", "interval": "30s"}}, endpoints)
	require.Equal(t, "metrics", service.Spec.Ports[0].Name)
	door := find[unstructured.Unstructured](t, objs, "ServiceMonitor", doorName)
	require.Equal(t, "prometheus", door.GetLabels()["release"])
	selector, _, err = unstructured.NestedStringMap(door.Object, "spec", "selector", "matchLabels")
	require.NoError(t, err)
	service = find[corev1.Service](t, objs, "Service", doorName)
	require.Subset(t, service.Labels, selector)
	require.Equal(t, "metrics", service.Spec.Ports[2].Name)
}

// TestNetworkPolicy: metrics for the named peers only, health for everyone.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	rules := func(set map[string]string) []networkingv1.NetworkPolicyIngressRule {
		networkPolicy := find[networkingv1.NetworkPolicy](t, objects(t, operator(set)), "NetworkPolicy", operatorName)
		require.Equal(t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, networkPolicy.Spec.PolicyTypes)
		return networkPolicy.Spec.Ingress
	}
	byDefault := rules(nil)
	require.Len(t, byDefault, 2)
	require.Empty(t, byDefault[0].From)
	require.Equal(t, 8081, byDefault[0].Ports[0].Port.IntValue())
	require.Equal(t, 8080, byDefault[1].Ports[0].Port.IntValue())
	require.Equal(t, "monitoring", byDefault[1].From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])

	nobody := rules(map[string]string{"networkPolicy.metricsFrom": "null"})
	require.Len(t, nobody, 1, "no peers must not mean all peers")
	require.Equal(t, 8081, nobody[0].Ports[0].Port.IntValue())
}

// TestDisruption: a budget and a spread as soon as there is more than one pod.
func TestDisruption(t *testing.T) {
	t.Parallel()
	require.Empty(t, ofKind(objects(t, operator(nil)), "PodDisruptionBudget"))
	objs := objects(t, operator(map[string]string{"replicas": "2"}))
	require.Len(t, ofKind(objs, "PodDisruptionBudget"), 1)
	deployment := find[appsv1.Deployment](t, objs, "Deployment", operatorName)
	require.Len(t, deployment.Spec.Template.Spec.TopologySpreadConstraints, 1)
}

// TestLabelsCannotBeOverridden: a user's labels never break a selector.
func TestLabelsCannotBeOverridden(t *testing.T) {
	t.Parallel()
	objs := withoutDoor(withoutHooks(objects(t, operator(map[string]string{"podLabels.app": "mine", "commonLabels.app": "mine"}))))
	deployment := find[appsv1.Deployment](t, objs, "Deployment", operatorName)
	require.Equal(t, "vdi-operator", deployment.Spec.Template.Labels["app"])
	require.Subset(t, deployment.Spec.Template.Labels, deployment.Spec.Selector.MatchLabels)
	for _, obj := range objs {
		require.Equal(t, "vdi-operator", obj.GetLabels()["app"], key(obj))
		require.False(t, strings.HasSuffix(obj.GetName(), "-"), key(obj))
	}
}
