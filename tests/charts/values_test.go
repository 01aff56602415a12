package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestTemplates: every template a user would copy is one, strictly.
func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, file := range glob(t, "values", "templates", "*.yaml") {
		t.Run(caseName(file), func(t *testing.T) {
			t.Parallel()
			template := readYAML[vdi.VDITemplate](t, file)
			require.Equal(t, vdi.GroupVersion.String(), template.APIVersion)
			require.Equal(t, "VDITemplate", template.Kind)
			require.Equal(t, caseName(file), template.Name)
			require.NotEmpty(t, template.Spec.Image)
			require.NotEmpty(t, template.Spec.DisplayName)
			requireRenders(t, &template, allowedBy(t, file))
		})
	}
}

// allowedBy are the settings that a template asks for in its head, in one line.
func allowedBy(t *testing.T, file string) (allowed platform.Allowed) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	if _, rest, found := strings.Cut(string(data), "#   sessions.allowed: "); found {
		line, _, _ := strings.Cut(rest, "\n")
		require.NoError(t, yaml.UnmarshalStrict([]byte(line), &allowed))
	}
	return allowed
}

// requireRenders asks the operator's own renderer whether a desktop would start.
func requireRenders(t *testing.T, template *vdi.VDITemplate, allowed platform.Allowed) {
	t.Helper()
	r, err := renderer.New()
	require.NoError(t, err)
	config := platform.Config{}
	config.Sessions.Domain, config.Sessions.Allowed = "vdi.example.com", allowed
	config.Sessions.TURN.Host = "turn.vdi.example.com" // for those that stream over WebRTC
	require.NoError(t, r.ValidateTemplate(template, config))
}

// TestTemplateValues: what the templates set exists in the session chart.
func TestTemplateValues(t *testing.T) {
	t.Parallel()
	chartValues := readYAML[map[string]any](t, inRepository("charts", "vdi-session", "values.yaml"))
	for _, name := range []string{"values-override.yaml", "blender.yaml", "kiosk.yaml"} {
		template := readYAML[vdi.VDITemplate](t, inRepository("values", "templates", name))
		require.NotNil(t, template.Spec.Values, name)
		var overrides map[string]any
		require.NoError(t, yaml.Unmarshal(template.Spec.Values.Raw, &overrides))
		requireKnown(t, chartValues, overrides, "")
	}
}

// requireKnown descends as far as the chart's own values have keys of its own.
func requireKnown(t *testing.T, known, set map[string]any, path string) {
	t.Helper()
	for name, value := range set {
		require.Contains(t, known, name, "the session chart has no value %s%s", path, name)
		below, isMap := known[name].(map[string]any)
		nested, isNested := value.(map[string]any)
		free := name == "annotations" || name == "labels"
		if isMap && len(below) > 0 && isNested && !free {
			requireKnown(t, below, nested, path+name+".")
		}
	}
}

// TestForWhom: every values file opens with a sentence that says who it is for.
func TestForWhom(t *testing.T) {
	t.Parallel()
	for _, file := range append(glob(t, "values", "*.yaml"), glob(t, "values", "templates", "*.yaml")...) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(data), "# For "), filepath.Base(file))
	}
}

// TestValuesOfEarlierReleases: `helm upgrade --reuse-values` passes values that know
// nothing of what came later; it is as if each had its default.
func TestValuesOfEarlierReleases(t *testing.T) {
	t.Parallel()
	now, err := render(t, operator(nil))
	require.NoError(t, err)
	for _, name := range []string{
		"global", "admission.pods", "admission.endpointWriters", "admission.namespaceLabel", "sessions.allowed", "sessions.network.openRanges",
		"sessions.proxy.reads", "sessions.proxy.labelJob", "sessions.proxy.ingressClasses", "sessions.proxy.gatewayClasses",
		"sessions.proxy.gateways", "sessions.proxy.ranges", "gpuSharing.policy",
		"revisionHistoryLimit", "podSecurityContext", "containerSecurityContext", "extraArgs", "extraObjects", "service", "strategy",
		"frontDoor.autoscaling", "clusterObjects", "frontDoor.revisionHistoryLimit", "frontDoor.tolerations", "serviceMonitor.relabelings", "sessions.proxy.certificateNamespaces", "tenancy.templates", "upgradeCheck",
		"access.requesterGroupPrefix", "access.local", "access.local.secret", "portal", "hooks.enabled", "hooks.check", "hooks.deadline", "uninstall.job.force",
	} {
		without, err := render(t, operator(map[string]string{name: "null"}))
		require.NoError(t, err, name)
		require.True(t, now == without, "%s: the rendering is not that of its default", name)
	}
	now, err = render(t, platformChart(nil))
	require.NoError(t, err)
	for _, name := range []string{"slicesPerGPU", "gpuPools", "timeSlicing", "certificate", "extraObjects", "global.turn", "global.monitoring", "global.compatibility", "global.operatorImage", "global.imagePullSecrets"} {
		without, err := render(t, platformChart(map[string]string{name: "null"}))
		require.NoError(t, err, name)
		require.True(t, now == without, "%s: the rendering of the umbrella is not that of its default", name)
	}
}
