package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/vdi-platform/vdi-platform/platform"
)

// TestOverrides: what the values change of pods reaches every one of them, and what they
// do not name stays as secure as it was (TestPodSecurity judges these scenarios, too).
func TestOverrides(t *testing.T) {
	t.Parallel()
	objs := objects(t, scenarios(t)["vdi-operator-overrides"])
	for _, obj := range ofKind(objs, "Deployment", "Job", "Pod") {
		pod := podOf(t, obj).Spec
		require.Equal(t, []corev1.LocalObjectReference{{Name: "site"}, {Name: "registry"}}, pod.ImagePullSecrets, key(obj))
		require.True(t, *pod.SecurityContext.RunAsNonRoot, key(obj))
		require.Equal(t, "s0:c1,c2", pod.Containers[0].SecurityContext.SELinuxOptions.Level, key(obj))
		require.Equal(t, []corev1.Capability{"ALL"}, pod.Containers[0].SecurityContext.Capabilities.Drop, key(obj))
	}
	operator, door := find[appsv1.Deployment](t, objs, "Deployment", operatorName), find[appsv1.Deployment](t, objs, "Deployment", doorName)
	require.Zero(t, *operator.Spec.RevisionHistoryLimit)
	require.EqualValues(t, 3, *door.Spec.RevisionHistoryLimit)
	require.Equal(t, "profiles/vdi.json", *operator.Spec.Template.Spec.SecurityContext.SeccompProfile.LocalhostProfile)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, door.Spec.Template.Spec.SecurityContext.SeccompProfile.Type)
	require.Equal(t, "--pprof-bind-address=127.0.0.1:6060", last(operator.Spec.Template.Spec.Containers[0].Args))
	require.Equal(t, "GOMEMLIMIT", last(door.Spec.Template.Spec.Containers[0].Env).Name)
	require.Equal(t, "authorities", last(operator.Spec.Template.Spec.Containers[0].VolumeMounts).Name)
	require.Equal(t, "scratch", last(door.Spec.Template.Spec.Volumes).Name)
	require.Equal(t, map[string]string{"pool": "infra"}, operator.Spec.Template.Spec.NodeSelector)
	require.Equal(t, map[string]string{"pool": "web"}, door.Spec.Template.Spec.NodeSelector)
	require.Equal(t, "platform", door.Spec.Template.Spec.PriorityClassName, "as the operator's")
	require.Equal(t, "web", door.Annotations["example.com/owner"])
	for _, name := range []string{operatorName, doorName} {
		require.Equal(t, corev1.IPFamilyPolicyPreferDualStack, *find[corev1.Service](t, objs, "Service", name).Spec.IPFamilyPolicy)
	}
	require.Equal(t, "vdi.example.com", find[corev1.ConfigMap](t, objs, "ConfigMap", "vdi-extra").Data["domain"])
	find[corev1.ConfigMap](t, objs, "ConfigMap", "text")
}

func last[T any](list []T) T { return list[len(list)-1] }

// TestDoorScales: the autoscaler alone says how many.
func TestDoorScales(t *testing.T) {
	t.Parallel()
	objs := objects(t, scenarios(t)["vdi-operator-overrides"])
	require.Nil(t, find[appsv1.Deployment](t, objs, "Deployment", doorName).Spec.Replicas)
	scaler := find[autoscalingv2.HorizontalPodAutoscaler](t, objs, "HorizontalPodAutoscaler", doorName)
	require.EqualValues(t, 3, *scaler.Spec.MinReplicas)
	require.Equal(t, doorName, scaler.Spec.ScaleTargetRef.Name)
	find[policyv1.PodDisruptionBudget](t, objs, "PodDisruptionBudget", doorName)
	require.Empty(t, ofKind(objects(t, operator(nil)), "HorizontalPodAutoscaler"))
}

// TestUsersOfTheNamespace: on OpenShift no pod of ours chooses its user, with both helms.
func TestUsersOfTheNamespace(t *testing.T) {
	t.Parallel()
	onOpenShift := func(s scenario) scenario {
		s.args = append(slices.Clone(s.args), "--api-versions", "security.openshift.io/v1")
		return s
	}
	forced := map[string]string{"global.compatibility.openshift.adaptSecurityContext": "force"}
	for name, c := range map[string]struct {
		scenario scenario
		chooses  bool
	}{
		"found":           {onOpenShift(operator(nil)), false},
		"said":            {operator(forced), false},
		"relay, found":    {onOpenShift(relay(nil)), false},
		"relay, said":     {relay(forced), false},
		"elsewhere":       {operator(nil), true},
		"relay elsewhere": {relay(nil), true},
		"unwanted":        {onOpenShift(operator(map[string]string{"global.compatibility.openshift.adaptSecurityContext": "disabled"})), true},
	} {
		pods := ofKind(objects(t, c.scenario), "Deployment", "Job", "Pod")
		require.NotEmpty(t, pods, name)
		for _, obj := range pods {
			security := podOf(t, obj).Spec.SecurityContext
			require.Equal(t, c.chooses, security.RunAsUser != nil, "%s: %s", name, key(obj))
			require.True(t, *security.RunAsNonRoot, "%s: %s", name, key(obj))
		}
	}
}

// TestPullSecretForms: names as Kubernetes writes them and as earlier releases took them
// are the same, and the older ones are warned about.
func TestPullSecretForms(t *testing.T) {
	t.Parallel()
	const warning = "names Secrets by bare names"
	now := map[string]string{"imagePullSecrets[0].name": "a", "sessions.images.pullSecrets[0].name": "b"}
	before := map[string]string{"imagePullSecrets": "{a}", "sessions.images.pullSecrets": "{b}"}
	require.Equal(t, mustRender(t, operator(now)), mustRender(t, operator(before)))
	require.NotContains(t, notesOf(t, operator(now)), warning)
	require.Contains(t, notesOf(t, operator(before)), "WARNING: imagePullSecrets "+warning)
	require.Contains(t, notesOf(t, operator(before)), "WARNING: sessions.images.pullSecrets "+warning)
	require.Equal(t, mustRender(t, relay(map[string]string{"imagePullSecrets[0].name": "a"})), mustRender(t, relay(map[string]string{"imagePullSecrets": "{a}"})))
	for _, obj := range objects(t, operator(map[string]string{"global.imagePullSecrets[0].name": "site"})) {
		if config := configOf(t, obj.Object); config.Sessions.Domain != "" {
			require.Equal(t, platform.Images{PullSecrets: []string{"site"}}, config.Sessions.Images)
		}
	}
}

// TestPullSecretsHaveNames: an entry without one would be a pod that no API server takes.
func TestPullSecretsHaveNames(t *testing.T) {
	t.Parallel()
	for name, charts := range map[string][]func(map[string]string, ...string) scenario{
		"global.imagePullSecrets": {operator, relay}, "imagePullSecrets": {operator, relay}, "sessions.images.pullSecrets": {operator},
	} {
		for _, chart := range charts {
			for _, second := range []string{`{}`, `{"name": ""}`, `{"secret": "b"}`, `""`} {
				s := chart(nil)
				s.args = []string{"--set-json", name + `=[{"name": "a"}, ` + second + `]`}
				_, err := render(t, s)
				require.ErrorContains(t, err, name+"[1] names no Secret: write e.g. {name: registry}", second)
			}
		}
	}
	s := platformChart(nil)
	s.args = append(s.args, "--set-json", "vdi-operator.imagePullSecrets=[{}]")
	_, err := render(t, s)
	require.ErrorContains(t, err, "vdi-operator.imagePullSecrets[0] names no Secret")
}

// TestLoosened: an override that makes the platform's own pods less secure is warned of by its
// name, and none other is.
func TestLoosened(t *testing.T) {
	t.Parallel()
	const words = "less secure than"
	for value, set := range map[string]string{
		"runAsNonRoot": "podSecurityContext.runAsNonRoot=false", "runAsUser": "podSecurityContext.runAsUser=0",
		"seccompProfile": "podSecurityContext.seccompProfile.type=Unconfined", "privileged": "containerSecurityContext.privileged=true",
		"allowPrivilegeEscalation": "containerSecurityContext.allowPrivilegeEscalation=true", "capabilities.add SYS_ADMIN": "containerSecurityContext.capabilities.add={SYS_ADMIN}",
		"capabilities.drop": "containerSecurityContext.capabilities.drop={KILL}",
	} {
		name, to, _ := strings.Cut(set, "=")
		for _, prefix := range []string{"", "frontDoor."} {
			requireLoosened(t, operator(map[string]string{prefix + name: to}), prefix+strings.Split(name, ".")[0], value)
		}
		requireLoosened(t, relay(map[string]string{name: to}), strings.Split(name, ".")[0], value)
	}
	for _, s := range []scenario{operator(nil), relay(nil), scenarios(t)["vdi-operator-overrides"], relayScenarios(t)["overrides"], relayScenarios(t)["everything"]} {
		s.args = append(s.args, prometheusOperator()...)
		require.NotContains(t, notesOf(t, s), words, s.files)
	}
	umbrella := notesOf(t, platformChart(map[string]string{"vdi-operator.podSecurityContext.runAsUser": "0"}))
	require.Contains(t, umbrella, "WARNING: vdi-operator.podSecurityContext makes the platform's own pods "+words)
}

func requireLoosened(t *testing.T, s scenario, name, value string) {
	t.Helper()
	notes := notesOf(t, s)
	require.Contains(t, notes, "WARNING: "+name+" makes the ")
	require.Contains(t, notes, "("+value+")")
}

// TestArgumentsAreNotRepeated: what the chart's values say cannot be said otherwise by a flag.
func TestArgumentsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]scenario{
		`extraArgs[1] is "--leader-elect=false", a flag that the chart sets already`:          operator(map[string]string{"extraArgs": "{--pprof-bind-address=0,--leader-elect=false}"}),
		`extraArgs[0] is "-config", a flag that the chart sets already`:                       operator(map[string]string{"extraArgs": "{-config,/tmp/other}"}),
		`frontDoor.extraArgs[0] is "--log-level=warn", a flag that the chart sets already`:    operator(map[string]string{"frontDoor.extraArgs": "{--log-level=warn}"}),
		`extraArgs[0] is "--realm=other.example.com", which the chart sets already`:           relay(map[string]string{"extraArgs": "{--realm=other.example.com}"}),
		`extraArgs[0] is "-c", which the chart sets already`:                                  relay(map[string]string{"extraArgs": "{-c,/tmp/other}"}),
		`extraArgs[0] is "--static-auth-secret=a", which the chart sets already: set the val`: relay(map[string]string{"extraArgs": "{--static-auth-secret=a}"}),
	} {
		_, err := render(t, s)
		require.ErrorContains(t, err, want)
	}
}

// TestGroupAndVersion: who renders without a cluster names the API as other charts want it;
// a cluster lists kinds, and one of them may be missing.
func TestGroupAndVersion(t *testing.T) {
	t.Parallel()
	const api = "monitoring.coreos.com/v1"
	for name, c := range map[string]struct {
		versions []string
		want     string
	}{
		"group and version": {[]string{api}, ""},
		"kinds":             {[]string{api + "/ServiceMonitor", api + "/PrometheusRule"}, ""},
		"as a cluster":      {[]string{api, api + "/ServiceMonitor", api + "/PrometheusRule"}, ""},
		"without rules":     {[]string{api, api + "/ServiceMonitor"}, "prometheusRule.enabled is on, but this cluster does not know PrometheusRule"},
		"another group":     {[]string{"monitoring.coreos.com/v1alpha1"}, "serviceMonitor.enabled is on, but this cluster does not know ServiceMonitor"},
	} {
		for _, s := range []scenario{operator(monitored()), relay(monitored())} {
			for _, version := range c.versions {
				s.args = append(s.args, "--api-versions", version)
			}
			_, err := render(t, s)
			if c.want == "" {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorContains(t, err, c.want, name)
		}
	}
}

func monitored() map[string]string {
	return map[string]string{"serviceMonitor.enabled": "true", "prometheusRule.enabled": "true"}
}
