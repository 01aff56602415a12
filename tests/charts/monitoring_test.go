package charts

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
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
	require.Len(t, ofKind(objs, "ServiceMonitor"), 2, "the operator's and the front door's")
	find[corev1.ConfigMap](t, objs, "ConfigMap", "vdi-operator-dashboard")

	withRelay := platformChart(map[string]string{"coturn.enabled": "true", "coturn.realm": "a", "vdi-operator.sessions.turn.host": "a"}, inRepository("values", "production.yaml"))
	require.Len(t, ofKind(objects(t, withRelay), "PrometheusRule"), 2)
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
