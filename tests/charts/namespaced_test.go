package charts

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// administrators is what the head of values/namespaced.yaml lets an administrator render.
func administrators(t *testing.T) scenario {
	t.Helper()
	s := profile(t, "namespaced", map[string]string{"vdi-operator.clusterObjects": "Only"})
	s.args = []string{"--include-crds", "--no-hooks"}
	return s
}

// TestNamespacedInstaller: all that lies outside of the namespace comes from the
// administrator's file, all else from the release, and together they are one whole install.
func TestNamespacedInstaller(t *testing.T) {
	t.Parallel()
	installed := objects(t, profile(t, "namespaced", nil))
	for _, obj := range installed {
		require.Equal(t, releaseNamespace, obj.GetNamespace(), key(obj))
	}
	var applied []*unstructured.Unstructured
	for _, obj := range objects(t, administrators(t)) {
		if key(obj) != "Role vdi-system/vdi-operator-installer" { // of which whoever installs needs a binding
			require.NotEqual(t, releaseNamespace, obj.GetNamespace(), key(obj))
			applied = append(applied, obj)
		}
	}
	require.Len(t, ofKind(applied, "CustomResourceDefinition"), 4)
	bindings := 0
	for _, obj := range ofKind(applied, "ClusterRoleBinding") {
		for _, subject := range typed[rbacv1.ClusterRoleBinding](t, obj).Subjects {
			if subject.Kind == rbacv1.ServiceAccountKind {
				bindings++
			}
		}
	}
	require.Equal(t, 1, bindings, "one ClusterRole of ours is bound")

	whole := profile(t, "namespaced", map[string]string{"vdi-operator.clusterObjects": "Create"})
	whole.args = []string{"--include-crds"}
	var want, got []string
	for _, obj := range objects(t, whole) {
		want = append(want, key(obj))
	}
	for _, obj := range append(installed, applied...) {
		got = append(got, key(obj))
	}
	require.ElementsMatch(t, want, got, "nothing is lost, nothing made twice")
}

// TestNamespacedConforms: the administrator's file is as valid as the profile (TestConforms).
func TestNamespacedConforms(t *testing.T) {
	t.Parallel()
	problems, valid := nonconformities(t, mustRender(t, administrators(t)))
	require.Empty(t, problems)
	require.NotZero(t, valid)
}

// errLooked is what somebody hears who may look nowhere.
var errLooked = errors.New("forbidden")

// blind is a cluster that refuses every question of the templates.
type blind struct{}

func (blind) GetClientFor(_, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return nil, false, errors.Join(errLooked, errors.New(kind))
}

// TestLooksNowhere: an installer of one namespace may ask the API server for nothing else, and
// Helm does not go on where a template's question is refused.
func TestLooksNowhere(t *testing.T) {
	t.Parallel()
	jobs := map[string]any{
		"crds": map[string]any{"upgradeJob": map[string]any{"enabled": false}}, "upgradeCheck": map[string]any{"enabled": false},
		"hooks":     map[string]any{"check": false},
		"uninstall": map[string]any{"job": map[string]any{"enabled": false}},
		"sessions":  map[string]any{"domain": "vdi.example.com", "proxy": map[string]any{"namespace": "traefik", "labelJob": map[string]any{"enabled": false}}},
	}
	for clusterObjects, want := range map[string]error{"Create": errLooked, "Leave": nil} {
		for name, watched := range map[string][]any{"all namespaces": nil, "some": {"team-a"}} {
			c, err := loader.Load(inRepository("charts", "vdi-operator"))
			require.NoError(t, err)
			values, err := chartutil.CoalesceValues(c, chartutil.CoalesceTables(map[string]any{"clusterObjects": clusterObjects, "watchNamespaces": watched}, jobs))
			require.NoError(t, err)
			capabilities := chartutil.DefaultCapabilities.Copy()
			capabilities.APIVersions = append(capabilities.APIVersions, "vdi.kasm.io/v1alpha1/VDISession")
			toRender, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "vdi", Namespace: releaseNamespace, IsInstall: true}, capabilities)
			require.NoError(t, err)
			_, err = engine.RenderWithClientProvider(c, toRender, blind{})
			if want == nil {
				require.NoError(t, err, name)
			} else {
				require.ErrorContains(t, err, want.Error(), name)
			}
		}
	}
}

// TestOnlyIsNothingElse: what else the values hold stays out of the administrator's file.
func TestOnlyIsNothingElse(t *testing.T) {
	t.Parallel()
	want := mustRender(t, administrators(t))
	s := administrators(t)
	for name, value := range map[string]string{
		"vdi-operator.hooks.enabled": "false", "vdi-operator.crds.upgradeJob.enabled": "true", "vdi-operator.templates.a.image": "a",
		"vdi-operator.extraObjects[0].kind": "Secret", "extraObjects[0].kind": "Secret",
	} {
		s.set[name] = value
	}
	require.Equal(t, want, mustRender(t, s))
}

// TestOthersChartsStayInside: parts that make objects outside of the namespace are refused, and
// the relay, which makes none, is part of the release.
func TestOthersChartsStayInside(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"Only", "Leave"} {
		for _, name := range []string{"traefik.enabled", "gpu-operator.enabled"} {
			_, err := render(t, profile(t, "namespaced", map[string]string{"vdi-operator.clusterObjects": mode, name: "true"}))
			require.ErrorContains(t, err, name+" is on, but vdi-operator.clusterObjects is "+mode+": that chart makes objects outside of the release namespace")
		}
	}
	relayed := withEverything()
	for _, obj := range objects(t, profile(t, "namespaced", relayed)) {
		require.Equal(t, releaseNamespace, obj.GetNamespace(), key(obj))
	}
	relayed["coturn.address.externalFrom"] = "Node"
	_, err := render(t, profile(t, "namespaced", relayed))
	require.ErrorContains(t, err, "coturn.address.externalFrom is Node, but vdi-operator.clusterObjects is Leave: reading nodes takes a ClusterRole")
	relayed["vdi-operator.clusterObjects"] = "Only"
	_, err = render(t, profile(t, "namespaced", relayed))
	require.ErrorContains(t, err, "render the administrator's file with coturn.enabled=false")
}

// TestJobsStayInside: what a release of one namespace cannot do is refused with the key.
func TestJobsStayInside(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"crds.upgradeJob.enabled", "upgradeCheck.enabled", "uninstall.job.enabled", "hooks.check", "sessions.proxy.labelJob.enabled", "templates.a.image"} {
		_, err := render(t, profile(t, "namespaced", map[string]string{"vdi-operator." + name: "true"}))
		require.ErrorContains(t, err, "but clusterObjects is Leave: its Job needs rights that an installer of one namespace cannot give", name)
	}
}
