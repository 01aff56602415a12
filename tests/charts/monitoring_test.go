package charts

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestAlertsAndDashboard: off by default, on in production, and on without
// the Prometheus Operator fails in words. What they say is tested in tests/monitoring.
func TestAlertsAndDashboard(t *testing.T) {
	t.Parallel()
	require.Empty(t, ofKind(objects(t, operator(nil)), "PrometheusRule"))
	_, err := render(t, operator(map[string]string{"prometheusRule.enabled": "true"}))
	require.ErrorContains(t, err, "prometheusRule.enabled is on, but this cluster does not know PrometheusRule")

	objs := objects(t, platformChart(nil, inRepository("values", "production.yaml")))
	require.Len(t, ofKind(objs, "PrometheusRule"), 1)
	require.ElementsMatch(t, []string{"vdi-operator", doorName, "vdi-traefik", "vdi-dcgm-exporter"}, names(ofKind(objs, "ServiceMonitor")))
	find[corev1.ConfigMap](t, objs, "ConfigMap", "vdi-operator-dashboard")

	withRelay := platformChart(map[string]string{"coturn.enabled": "true", "coturn.realm": "a", "vdi-operator.sessions.turn.host": "a"}, inRepository("values", "production.yaml"))
	require.Len(t, ofKind(objects(t, withRelay), "PrometheusRule"), 2)
}

// TestMonitoringIsOneValue: one switch, one set of labels and one namespace of Prometheus for
// all parts, also other people's, unless their own charts make theirs.
func TestMonitoringIsOneValue(t *testing.T) {
	t.Parallel()
	s := platformChart(map[string]string{
		"global.monitoring.enabled": "true", "global.monitoring.labels.release": "prometheus", "global.monitoring.namespace": "metrics",
		"coturn.enabled": "true", "coturn.realm": "a", "vdi-operator.sessions.turn.host": "a", "coturn.exposure": "Service", "coturn.address.external": "192.0.2.1",
		"coturn.ports.relayMin": "50000", "coturn.ports.relayMax": "50003",
	})
	s.args = prometheusOperator()
	objs := objects(t, s)
	found := ofKind(objs, "ServiceMonitor", "PrometheusRule")
	require.ElementsMatch(t, []string{"vdi-operator", "vdi-operator", doorName, "vdi-traefik", "vdi-dcgm-exporter", "vdi-coturn", "vdi-coturn"}, names(found))
	for _, obj := range found {
		require.Equal(t, "prometheus", obj.GetLabels()["release"], key(obj))
	}
	find[corev1.ConfigMap](t, objs, "ConfigMap", "vdi-operator-dashboard")
	for _, obj := range ofKind(objs, "NetworkPolicy") {
		policy, err := yaml.Marshal(obj.Object)
		require.NoError(t, err)
		require.Contains(t, string(policy), "kubernetes.io/metadata.name: metrics", key(obj))
	}
	s.set["traefik.metrics.prometheus.serviceMonitor.enabled"], s.set["gpu-operator.dcgmExporter.serviceMonitor.enabled"] = "true", "true"
	left := names(ofKind(objects(t, s), "ServiceMonitor"))
	require.NotContains(t, left, "vdi-traefik")
	require.NotContains(t, left, "vdi-dcgm-exporter")
}

// TestDashboardFindsItsWay: where Grafana's sidecar looks is a value.
func TestDashboardFindsItsWay(t *testing.T) {
	t.Parallel()
	objs := objects(t, operator(map[string]string{
		"dashboard.enabled": "true", "dashboard.namespace": "monitoring",
		"dashboard.annotations.grafana_folder": "VDI", "dashboard.labels.grafana_dashboard": "yes",
	}))
	board := find[corev1.ConfigMap](t, objs, "ConfigMap", operatorName+"-dashboard")
	require.Equal(t, "monitoring", board.Namespace)
	require.Equal(t, "VDI", board.Annotations["grafana_folder"])
	require.Equal(t, "yes", board.Labels["grafana_dashboard"])
	require.Contains(t, board.Data["vdi-platform.json"], `"title": "VDI platform"`)
}

// TestAlertValues reach the rules.
func TestAlertValues(t *testing.T) {
	t.Parallel()
	s := operator(map[string]string{
		"prometheusRule.enabled": "true", "prometheusRule.slowStartSeconds": "45", "prometheusRule.stuckAfter": "1h",
		"prometheusRule.labels.release": "prometheus",
	})
	s.args = prometheusOperator()
	out := mustRender(t, s)
	require.Contains(t, out, "[30m]))) > 45")
	require.Contains(t, out, "[1h])) > 0")
	require.Contains(t, out, "for: 1h")
	require.Equal(t, "prometheus", ofKind(decode(t, out), "PrometheusRule")[0].GetLabels()["release"])
}
