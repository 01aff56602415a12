package charts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
)

const relayName = "vdi-coturn" // release vdi, chart coturn

// prometheusOperator is what `helm template` must be told without a cluster.
func prometheusOperator() []string {
	return []string{"--api-versions", "monitoring.coreos.com/v1"}
}

// relay is the chart with its least values, and more.
func relay(set map[string]string, files ...string) scenario {
	values := map[string]string{"realm": "turn.vdi.example.com"}
	for name, value := range set {
		values[name] = value
	}
	return scenario{chart: inRepository("charts", "coturn"), files: files, set: values}
}

func relayScenarios(t *testing.T) map[string]scenario {
	t.Helper()
	all := map[string]scenario{}
	for _, file := range glob(t, "charts", "coturn", "ci", "*-values.yaml") {
		all[caseName(file)] = scenario{chart: inRepository("charts", "coturn"), files: []string{file}}
	}
	all["overrides"] = scenario{chart: inRepository("charts", "coturn"), files: []string{"testdata/relay-overrides-values.yaml"}}
	return all
}

// TestCoturnGolden compares every scenario with its recorded manifests.
func TestCoturnGolden(t *testing.T) {
	t.Parallel()
	for name, s := range relayScenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireGolden(t, filepath.Join("testdata", "coturn", name+".yaml"), mustRender(t, s))
		})
	}
}

// TestCoturnGoldenLeftOvers fails on recorded manifests that no scenario renders.
func TestCoturnGoldenLeftOvers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "coturn", "*.yaml"))
	require.NoError(t, err)
	for _, file := range files {
		require.Contains(t, relayScenarios(t), caseName(file), "remove %s", file)
	}
}

func requireGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "record it with -update")
	require.Equal(t, string(want), got)
}

// TestCoturnBothHelms: Helm 4 renders the same objects, and both find nothing to say.
func TestCoturnBothHelms(t *testing.T) {
	t.Parallel()
	for name, s := range relayScenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := append([]string{"--values", s.files[0]}, offline()...)
			out := helm4(t, append([]string{"template", "vdi", s.chart, "--namespace", releaseNamespace}, values...)...)
			require.Equal(t, contents(t, mustRender(t, s)), contents(t, out))
			lint := append([]string{s.chart, "--strict"}, values...)
			words, err := helm.RunHelmCommandAndGetOutputContextE(t, t.Context(), scenario{}.options(), "lint", lint...)
			require.NoError(t, err)
			require.NotContains(t, words+helm4(t, append([]string{"lint"}, lint...)...), "[WARNING]")
		})
	}
}

// TestCoturnRefuses: values that cannot work fail with the value's name and
// the remedy.
func TestCoturnRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no realm":           {map[string]string{"realm": ""}, "realm is required: the relay's name in its challenges"},
		"injected realm":     {map[string]string{"realm": "a\nno-auth"}, `realm is "a\nno-auth", which is no DNS name`},
		"tag in repository":  {map[string]string{"global.operatorImage.repository": "ghcr.io/x/y:1"}, `global.operatorImage.repository is "ghcr.io/x/y:1", which holds a tag or digest, for which there are global.operatorImage.tag and`},
		"broken digest":      {map[string]string{"global.operatorImage.digest": "sha256:12"}, `global.operatorImage.digest is "sha256:12", which is no digest of 64 hexadecimal digits`},
		"empty range":        {map[string]string{"ports.relayMin": "50000", "ports.relayMax": "40000"}, "ports.relayMin is 50000, above ports.relayMax, which is 40000"},
		"port in range":      {map[string]string{"ports.turn": "50000"}, "ports.turn is 50000, inside the relay range 49152 to 65535"},
		"metrics in range":   {map[string]string{"metrics.port": "50000"}, "metrics.port is 50000, inside the relay range"},
		"same port":          {map[string]string{"metrics.port": "3478", "metrics.enabled": "true"}, "ports.turn, ports.tls and metrics.port must differ: they are 3478, 3478"},
		"wide Service":       {map[string]string{"exposure": "Service", "address.external": "192.0.2.1"}, "exposure is Service with 16384 relay ports"},
		"two behind Service": {map[string]string{"exposure": "Service", "address.external": "192.0.2.1", "ports.relayMax": "49160", "replicas": "2"}, "exposure is Service with more than one relay"},
		"unknown address":    {map[string]string{"exposure": "Service", "ports.relayMax": "49160"}, "address.external is required with exposure Service"},
		"zero range":         {map[string]string{"peers.denied": "{::-::1}"}, "no range may start at ::"},
		"CIDR":               {map[string]string{"peers.allowed": "{10.0.0.0/8}"}, "peers.denied and peers.allowed take FIRST-LAST or one address"},
		"injected range":     {map[string]string{"peers.allowed": "{10.0.0.0\nno-auth}"}, "peers.denied and peers.allowed take FIRST-LAST or one address"},
		"no certificate":     {map[string]string{"tls.enabled": "true"}, "tls.secretName is required while tls.enabled is on"},
		"no ServiceMonitor":  {map[string]string{"serviceMonitor.enabled": "true"}, "serviceMonitor.enabled is on, but this cluster does not know ServiceMonitor"},
		"no PrometheusRule":  {map[string]string{"prometheusRule.enabled": "true"}, "prometheusRule.enabled is on, but this cluster does not know PrometheusRule"},
		"unknown exposure":   {map[string]string{"exposure": "HostPort"}, "at '/exposure': value must be one of 'HostNetwork', 'Service'"},
		"unknown key":        {map[string]string{"peers.alowed": "{}"}, "additional properties 'alowed' not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, relay(c.set))
			require.ErrorContains(t, err, c.want)
		})
	}
	s := relay(map[string]string{"global.imageRegistry": "a.example.com"})
	require.NotEmpty(t, mustRender(t, s), "part of somebody's umbrella")
}

// pods are the pod templates of the relay and of the hook.
func pods(t *testing.T, objs []*unstructured.Unstructured) map[string]corev1.PodTemplateSpec {
	t.Helper()
	all := map[string]corev1.PodTemplateSpec{}
	for _, obj := range ofKind(objs, "Deployment") {
		all["relay"] = typed[appsv1.Deployment](t, obj).Spec.Template
	}
	for _, obj := range ofKind(objs, "DaemonSet") {
		all["relay"] = typed[appsv1.DaemonSet](t, obj).Spec.Template
	}
	for _, obj := range ofKind(objs, "Job") {
		all["maker"] = typed[batchv1.Job](t, obj).Spec.Template
	}
	require.Contains(t, all, "relay")
	return all
}

// TestCoturnPodSecurity: the host network, and a port below 1024 there, are the only things that
// keep the relay from the level "restricted".
func TestCoturnPodSecurity(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, s := range relayScenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for part, pod := range pods(t, objects(t, s)) {
				onHost := pod.Spec.HostNetwork
				pod.Spec.HostNetwork = false
				if first := pod.Spec.Containers[0].SecurityContext; part == "relay" && name == "everything" {
					require.True(t, *first.AllowPrivilegeEscalation, "TLS on port 443")
					first.AllowPrivilegeEscalation = ptr.To(false)
				}
				result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
				require.True(t, result.Allowed, "%s: %s", part, result.ForbiddenDetail())
				require.Equal(t, part == "relay" && name != "service" && name != "overrides", onHost, part)
				for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
					require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, container.Name)
				}
			}
		})
	}
}

// TestCoturnLowPorts: privileges may grow only where a port of the node needs it.
func TestCoturnLowPorts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want bool
	}{
		"usual ports":          {nil, false},
		"TLS on 443":           {map[string]string{"tls.enabled": "true", "tls.secretName": "a", "ports.tls": "443"}, true},
		"no TLS":               {map[string]string{"ports.tls": "443"}, false},
		"TURN on 80":           {map[string]string{"ports.turn": "80"}, true},
		"in the pod's network": {map[string]string{"ports.turn": "80", "exposure": "Service", "address.external": "192.0.2.1", "ports.relayMin": "50000", "ports.relayMax": "50019"}, false},
	} {
		pod := pods(t, objects(t, relay(c.set)))["relay"]
		require.Equal(t, c.want, *pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation, name)
		asked := pod.Spec.Containers[0].ReadinessProbe.TCPSocket.Port.String()
		require.Equal(t, map[bool]string{true: "turn-tls", false: "turn-tcp"}[c.set["tls.enabled"] == "true"], asked, name)
	}
}

// TestCoturnCapability: without NET_BIND_SERVICE the image's program does not start.
func TestCoturnCapability(t *testing.T) {
	t.Parallel()
	pod := pods(t, objects(t, relay(nil)))["relay"]
	require.Equal(t, []corev1.Capability{"NET_BIND_SERVICE"}, pod.Spec.Containers[0].SecurityContext.Capabilities.Add)
	require.Empty(t, pod.Spec.InitContainers[0].SecurityContext.Capabilities.Add)
}

// TestCoturnSecretStaysOut: the Secret is no object of the chart, nothing of it stands in arguments or
// environment, and coturn's own container sees neither it nor a token.
func TestCoturnSecretStaysOut(t *testing.T) {
	t.Parallel()
	for name, s := range relayScenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objs := objects(t, s)
			require.Empty(t, ofKind(objs, "Secret"))
			for part, pod := range pods(t, objs) {
				for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
					require.Empty(t, container.EnvFrom)
					for _, env := range container.Env {
						if env.Name != "A" { // the values' own
							require.NotNil(t, env.ValueFrom.FieldRef, "%s %s", part, env.Name)
						}
					}
				}
			}
			relay := pods(t, objs)["relay"].Spec
			require.False(t, *relay.AutomountServiceAccountToken)
			for _, mount := range relay.Containers[0].VolumeMounts {
				require.Contains(t, []string{"config", "run", "tls", "scratch"}, mount.Name)
			}
			for _, volume := range relay.Volumes {
				if volume.Name == "config" {
					require.Equal(t, corev1.StorageMediumMemory, volume.EmptyDir.Medium)
				}
			}
		})
	}
}

// TestCoturnMaker: the hook runs before everything else, leaves nothing behind and
// may not change a Secret; with an own Secret there is none.
func TestCoturnMaker(t *testing.T) {
	t.Parallel()
	weights := map[string]string{"ServiceAccount": "-3", "Role": "-3", "RoleBinding": "-2", "Job": "-1"}
	objs := objects(t, relay(nil))
	seen := 0
	for _, obj := range objs {
		if obj.GetName() != relayName+"-maker" {
			continue
		}
		seen++
		require.Equal(t, map[string]string{
			"helm.sh/hook":               "pre-install,pre-upgrade",
			"helm.sh/hook-weight":        weights[obj.GetKind()],
			"helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
		}, obj.GetAnnotations())
	}
	require.Equal(t, len(weights), seen)
	role := find[rbacv1.Role](t, objs, "Role", relayName+"-maker")
	require.Equal(t, []string{"create"}, role.Rules[0].Verbs)
	require.Equal(t, []string{"get"}, role.Rules[1].Verbs)
	require.Equal(t, []string{relayName + "-secret"}, role.Rules[1].ResourceNames)
	require.Empty(t, ofKind(objects(t, relay(map[string]string{"secret.existingSecret": "mine"})), "Job", "Role", "RoleBinding"))
}

// TestCoturnPlainMaker: a plain Job is another one only when it would do something else, since
// each that was is left behind.
func TestCoturnPlainMaker(t *testing.T) {
	t.Parallel()
	name := func(key, value string) string {
		jobs := ofKind(objects(t, relay(map[string]string{"hooks.enabled": "false", key: value})), "Job")
		require.Len(t, jobs, 1)
		return jobs[0].GetName()
	}
	first := name("replicas", "1")
	require.Regexp(t, "^"+relayName+"-maker-[0-9a-f]{8}$", first)
	require.Equal(t, first, name("replicas", "2"))
	require.Equal(t, first, name("podLabels.a", "b"))
	require.NotEqual(t, first, name("tool.image.tag", "next"))
	require.NotEqual(t, first, name("nodeSelector.a", "b"))
}

// TestCoturnDisruptions: a budget where drains evict several relays. For a DaemonSet, which has
// no scale subresource, it would refuse every eviction.
func TestCoturnDisruptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want int
	}{
		"one":      {nil, 0},
		"two":      {map[string]string{"replicas": "2"}, 1},
		"off":      {map[string]string{"replicas": "2", "podDisruptionBudget.enabled": "false"}, 0},
		"per node": {map[string]string{"kind": "DaemonSet", "replicas": "2"}, 0},
	} {
		require.Len(t, ofKind(objects(t, relay(c.set)), "PodDisruptionBudget"), c.want, name)
	}
}

// TestCoturnMetricsAreClosed: on the node's own network nobody is kept from a port, so
// none is open that nobody asked for.
func TestCoturnMetricsAreClosed(t *testing.T) {
	t.Parallel()
	for value, open := range map[string]bool{"": false, "metrics.enabled": true, "serviceMonitor.enabled": true, "prometheusRule.enabled": true} {
		s := relay(nil)
		if value != "" {
			s = relay(map[string]string{value: "true"})
		}
		s.args = prometheusOperator()
		objs := objects(t, s)
		container := pods(t, objs)["relay"].Spec.Containers[0]
		require.True(t, pods(t, objs)["relay"].Spec.HostNetwork)
		require.Equal(t, open, slices.Contains(container.Args, "--prometheus"), value)
		require.Equal(t, open, slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == "metrics" }), value)
	}
}

// TestCoturnMonitoring: what is scraped exists, and the alerts ask for its job.
func TestCoturnMonitoring(t *testing.T) {
	t.Parallel()
	s := relay(map[string]string{"serviceMonitor.enabled": "true", "prometheusRule.enabled": "true", "serviceMonitor.labels.release": "prometheus"})
	s.args = prometheusOperator()
	objs := objects(t, s)
	monitor := ofKind(objs, "ServiceMonitor")[0]
	selector, _, err := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	require.NoError(t, err)
	service := find[corev1.Service](t, objs, "Service", relayName+"-metrics")
	require.Subset(t, service.Labels, selector)
	require.Equal(t, "metrics", service.Spec.Ports[0].Name)
	require.Equal(t, "prometheus", monitor.GetLabels()["release"])
	require.Contains(t, mustRender(t, s), `absent(up{job="vdi-coturn-metrics",namespace="vdi-system"})`)
	args := pods(t, objs)["relay"].Spec.Containers[0].Args
	require.Contains(t, args, "--prometheus-port=9641")
	require.NotContains(t, find[corev1.ConfigMap](t, objs, "ConfigMap", relayName+"-config").Data["turnserver.conf"], "prometheus", "4.6.1 does not know the key")
}

// TestCoturnConfigRestarts: coturn reads its file once.
func TestCoturnConfigRestarts(t *testing.T) {
	t.Parallel()
	checksum := func(set map[string]string) string {
		return pods(t, objects(t, relay(set)))["relay"].Annotations["checksum/config"]
	}
	require.NotEqual(t, checksum(nil), checksum(map[string]string{"limits.allocations": "7"}))
	require.Equal(t, checksum(nil), checksum(map[string]string{"podLabels.a": "b"}))
}

// TestCoturnNames: a user's labels never break a selector, and the hook's pod is no relay.
func TestCoturnNames(t *testing.T) {
	t.Parallel()
	objs := objects(t, relay(map[string]string{"podLabels.app\\.kubernetes\\.io/name": "mine", "fullnameOverride": strings.Repeat("a", 62) + "-b"}))
	all := pods(t, objs)
	for _, obj := range ofKind(objs, "Deployment") {
		deployment := typed[appsv1.Deployment](t, obj)
		require.Subset(t, all["relay"].Labels, deployment.Spec.Selector.MatchLabels)
		require.NotSubset(t, all["maker"].Labels, deployment.Spec.Selector.MatchLabels)
	}
	for _, obj := range objs {
		require.LessOrEqual(t, len(obj.GetName()), 63)
		require.NotRegexp(t, "[.-]$", obj.GetName())
	}
}

// TestPlatformWithCoturn: the relay is off in the umbrella, on by one switch, and its messages name values
// as they must be written there.
func TestPlatformWithCoturn(t *testing.T) {
	t.Parallel()
	require.NotContains(t, mustRender(t, platformChart(nil)), "coturn")
	on := map[string]string{
		"coturn.enabled": "true", "coturn.realm": "turn.vdi.example.com", "vdi-operator.sessions.turn.host": "turn.vdi.example.com",
	}
	find[appsv1.Deployment](t, objects(t, platformChart(on)), "Deployment", relayName)
	_, err := render(t, platformChart(map[string]string{"coturn.enabled": "true"}))
	require.ErrorContains(t, err, "coturn.realm is required")
}
