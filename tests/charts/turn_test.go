package charts

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform"
)

// TestRelaySettings: where the relay is reaches the operator's configuration, and
// its shared secret the operator's files and nothing else.
func TestRelaySettings(t *testing.T) {
	t.Parallel()
	objs := objects(t, scenarios(t)["vdi-operator-everything"])
	config, err := platform.ParseConfig([]byte(find[corev1.ConfigMap](t, objs, "ConfigMap", "desktops-config").Data["config.yaml"]))
	require.NoError(t, err)
	require.Equal(t, platform.TURN{
		Host: "turn.example.com", Port: 3479, Transports: []platform.TURNTransport{platform.TURNOverTCP}, TLSPort: 443, Ranges: []string{"192.0.2.20/32"},
	}, config.Sessions.TURN)
	requireRelaySecret(t, find[appsv1.Deployment](t, objs, "Deployment", "desktops").Spec.Template.Spec, "relay")

	for _, obj := range ofKind(objs, "Deployment") {
		for _, volume := range typed[appsv1.Deployment](t, obj).Spec.Template.Spec.Volumes {
			require.False(t, obj.GetName() != "desktops" && volume.Secret != nil && volume.Secret.SecretName == "relay", obj.GetName())
		}
	}
}

// TestNoRelay: without one the operator has no such file, flag or setting.
func TestNoRelay(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(nil))
	require.NotContains(t, find[corev1.ConfigMap](t, objs, "ConfigMap", operatorName+"-config").Data["config.yaml"], "turn:")
	pod := find[appsv1.Deployment](t, objs, "Deployment", operatorName).Spec.Template.Spec
	require.NotContains(t, pod.Containers[0].Args, "--turn-secret-dir=/etc/vdi-turn")
	for _, volume := range pod.Volumes {
		require.Nil(t, volume.Secret)
	}
}

// TestUmbrellaRelay: with the umbrella's relay the operator signs with the very
// Secret that the relay reads.
func TestUmbrellaRelay(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(withRelay("vdi-operator.sessions.turn.host", "203.0.113.10")))
	requireRelaySecret(t, find[appsv1.Deployment](t, objs, "Deployment", "vdi-operator").Spec.Template.Spec, "vdi-coturn-secret")
	found := false
	for _, volume := range find[appsv1.Deployment](t, objs, "Deployment", "vdi-coturn").Spec.Template.Spec.Volumes {
		found = found || volume.Secret != nil && volume.Secret.SecretName == "vdi-coturn-secret"
	}
	require.True(t, found, "the relay reads another Secret")
}

// requireRelaySecret: the operator has the relay's Secret as files, whether it is there yet or not.
func requireRelaySecret(t *testing.T, pod corev1.PodSpec, name string) {
	t.Helper()
	require.Contains(t, pod.Containers[0].Args, "--turn-secret-dir=/etc/vdi-turn")
	optional := true
	require.Contains(t, pod.Volumes, corev1.Volume{Name: "turn", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: name, Optional: &optional},
	}})
	require.Contains(t, pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "turn", MountPath: "/etc/vdi-turn", ReadOnly: true})
}

// TestRelayIsOneValue: host, ports and image are said once, for the relay and for desktops.
func TestRelayIsOneValue(t *testing.T) {
	t.Parallel()
	objs := objects(t, platformChart(map[string]string{
		"coturn.enabled": "true", "coturn.realm": "turn.example.com", "coturn.tls.enabled": "true", "coturn.tls.secretName": "turn-tls",
		"global.turn.host": "turn.example.com", "global.turn.port": "3500", "global.turn.tlsPort": "443",
		"global.operatorImage.repository": "registry.example.com/vdi-operator", "global.operatorImage.tag": "v2",
	}))
	turn := settingsOf(t, objs).Sessions.TURN
	require.Equal(t, "turn.example.com 3500 443", fmt.Sprint(turn.Host, " ", turn.Port, " ", turn.TLSPort))
	require.Contains(t, find[corev1.ConfigMap](t, objs, "ConfigMap", "vdi-coturn-config").Data["turnserver.conf"], "listening-port=3500\n")
	manifests, err := yaml.Marshal(objs)
	require.NoError(t, err)
	require.NotContains(t, string(manifests), "ghcr.io/vdi-platform/vdi-operator")
	require.Contains(t, string(manifests), "registry.example.com/vdi-operator:v2")
}
