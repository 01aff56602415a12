package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// rule is one alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// groups are all rendered rules in the form of a Prometheus rule file.
type groups struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

func rulesOf(t *testing.T, objs []*unstructured.Unstructured) groups {
	t.Helper()
	var all groups
	for _, obj := range ofKind(objs, "PrometheusRule") {
		data, err := json.Marshal(obj.Object["spec"])
		require.NoError(t, err)
		var some groups
		require.NoError(t, json.Unmarshal(data, &some))
		all.Groups = append(all.Groups, some.Groups...)
	}
	require.Len(t, all.Groups, 2, "of operator and relay")
	return all
}

// ruleFile writes the rendered rules as promtool reads them.
func ruleFile(t *testing.T, objs []*unstructured.Unstructured, dir string) string {
	t.Helper()
	var all []any
	for _, obj := range ofKind(objs, "PrometheusRule") {
		some, _, err := unstructured.NestedSlice(obj.Object, "spec", "groups")
		require.NoError(t, err)
		all = append(all, some...)
	}
	data, err := yaml.Marshal(map[string]any{"groups": all})
	require.NoError(t, err)
	file := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestAlerts: promtool takes the rules, and each alert fires when it should and
// not otherwise.
func TestAlerts(t *testing.T) {
	dir := t.TempDir()
	promtool(t, "check", "rules", ruleFile(t, charts(t), dir))
	tests, err := os.ReadFile(filepath.Join("testdata", "alerts.yaml"))
	require.NoError(t, err)
	file := filepath.Join(dir, "alerts.yaml")
	require.NoError(t, os.WriteFile(file, tests, 0o600))
	promtool(t, "test", "rules", file)
}

// TestAlertsHelp: every alert says how bad, what, and what to do, and is tested.
func TestAlertsHelp(t *testing.T) {
	tests, err := os.ReadFile(filepath.Join("testdata", "alerts.yaml"))
	require.NoError(t, err)
	for _, group := range rulesOf(t, charts(t)).Groups {
		for _, r := range group.Rules {
			require.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
			for _, name := range []string{"summary", "description", "runbook"} {
				require.NotEmpty(t, r.Annotations[name], "%s %s", r.Alert, name)
			}
			require.NotEmpty(t, r.For, r.Alert)
			require.Contains(t, string(tests), `alertname="`+r.Alert+`"`, "no test lets it fire")
		}
	}
}

// selector is a metric with its labels. All our expressions write the braces,
// so that none escapes this check.
var (
	selector = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\{[^}]*\}`)
	bare     = regexp.MustCompile(`\b(vdi|turn|traefik|DCGM|process|go|controller)_[a-zA-Z0-9_]+\b[^{a-zA-Z0-9_]`)
)

// selectorsOf finds the metrics of an expression.
func selectorsOf(t *testing.T, expr string) []string {
	t.Helper()
	require.NotRegexp(t, bare, expr+" ", "write METRIC{…}")
	found := selector.FindAllString(expr, -1)
	require.NotEmpty(t, found, expr)
	return found
}

// TestQuestionsHaveAnswers: Prometheus, told what to scrape by the rendered
// ServiceMonitors, finds series for every alert and every panel.
func TestQuestionsHaveAnswers(t *testing.T) {
	objs := charts(t)
	monitors := ofKind(objs, "ServiceMonitor")
	require.Len(t, monitors, 3)
	prometheus := start(
		t,
		jobOf(t, objs, named(t, monitors, "vdi-frontdoor"), frontDoor(t)),
		jobOf(t, objs, named(t, monitors, "vdi-vdi-operator"), operator(t)),
		jobOf(t, objs, named(t, monitors, "vdi-coturn"), recorded(t, "coturn")),
		job("traefik", recorded(t, "traefik"), "/metrics", "1s", nil),
		job("dcgm", recorded(t, "dcgm"), "/metrics", "1s", nil),
	)
	for _, group := range rulesOf(t, objs).Groups {
		for _, r := range group.Rules {
			_, err := prometheus.query(r.Expr)
			require.NoError(t, err, r.Alert)
			prometheus.requireSeries(t, r.Alert, selectorsOf(t, r.Expr)...)
		}
	}
	for title, exprs := range panels(t, objs) {
		for _, expr := range exprs {
			selectorsOf(t, expr)
			prometheus.requireSeries(t, title, expr)
		}
	}
	nothing, err := prometheus.query(`vdi_sessions{namespace="elsewhere"}`)
	require.NoError(t, err)
	require.Empty(t, nothing)
}

func named(t *testing.T, objs []*unstructured.Unstructured, name string) *unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(objs, func(o *unstructured.Unstructured) bool { return o.GetName() == name })
	require.GreaterOrEqual(t, i, 0, "%s is not rendered", name)
	return objs[i]
}

func (s server) requireSeries(t *testing.T, who string, exprs ...string) {
	t.Helper()
	for _, expr := range exprs {
		found, err := s.query(expr)
		require.NoError(t, err, who)
		require.NotEmpty(t, found, "%s: %s", who, expr)
	}
}

// panels are the queries of the dashboard by title, with Grafana's variables filled in.
func panels(t *testing.T, objs []*unstructured.Unstructured) map[string][]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(dashboardOf(t, objs)), &board))
	variables := strings.NewReplacer("$namespace", namespace+"|other", "$__rate_interval", "1m")
	all := map[string][]string{}
	for _, panel := range board.Panels {
		require.LessOrEqual(t, panel.GridPos.X+panel.GridPos.W, 24, panel.Title)
		require.NotContains(t, all, panel.Title)
		for _, target := range panel.Targets {
			all[panel.Title] = append(all[panel.Title], variables.Replace(target.Expr))
		}
		require.True(t, panel.Type == "row" || len(all[panel.Title]) > 0, panel.Title)
	}
	require.Greater(t, len(all), 15)
	return all
}

func dashboardOf(t *testing.T, objs []*unstructured.Unstructured) string {
	t.Helper()
	for _, obj := range ofKind(objs, "ConfigMap") {
		if obj.GetLabels()["grafana_dashboard"] != "1" {
			continue
		}
		text, found, err := unstructured.NestedString(obj.Object, "data", "vdi-platform.json")
		require.NoError(t, err)
		require.True(t, found)
		return text
	}
	require.Fail(t, "no dashboard is rendered")
	return ""
}
