package maintain

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestCheckInstallRefuses: what would break every session, in the words of the code that
// would break. It asks no cluster before.
func TestCheckInstallRefuses(t *testing.T) {
	for settings, want := range map[string]string{
		"{}":                                  "sessions.domain: not set",
		"{domain: vdi.example.com, a: b}":     `unknown field "sessions.a"`,
		"{domain: a.b, values: {pasword: x}}": "sessions.values.pasword: unknown key",
		"{domain: a.b, values: {pod: {shmsize: 2Gi}}}":                                                    "sessions.values.pod.shmsize: unknown key",
		"{domain: a.b, values: {pod: {shmSize: 2}}}":                                                      "sessions.values.pod.shmSize: got number, want string",
		"{domain: a.b, network: {allowedRanges: [fe80::1::/64]}}":                                         `sessions.network.allowedRanges[0]: "fe80::1::/64" is no address range`,
		"{domain: a.b, network: {openRanges: [8.8.8.0/24]}}":                                              "sessions.network.openRanges[0]",
		"{domain: a.b, labels: {vdi.kasm.io/user: a}}":                                                    `sessions.labels: "vdi.kasm.io/user" is set by the platform`,
		"{domain: a.b, images: {rewrite: {ghcr.io/: x}}}":                                                 "give two image prefixes without a '/' at the end",
		"{domain: a.b, overlay: [{kind: Pod, jsonPatch: [{op: replace, path: /spec/nope/0, value: 1}]}]}": "sessions.overlay[0]",
		"{domain: a.b, overlay: [{kind: Pod, merge: {spec: {hostNetwork: true}}}]}":                       "hostNetwork",
	} {
		j := job{options: options{config: file(t, "config.yaml", "sessions: "+settings)}, out: discard{}}
		err := checkInstall(t.Context(), j)
		require.ErrorIs(t, err, ErrRefused, settings)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

// TestSampleOfATemplate: an overlay that only the installation's own templates can bear is no
// reason to refuse an upgrade.
func TestSampleOfATemplate(t *testing.T) {
	r, err := renderer.New()
	require.NoError(t, err)
	config, err := platform.ParseConfig([]byte("sessions: {domain: a.b, proxy: {namespace: c}, overlay: [{kind: Pod, jsonPatch: [{op: test, path: /spec/containers/0/image, value: own}]}]}"))
	require.NoError(t, err)
	out := &bytes.Buffer{}
	sample, err := job{options: options{templates: file(t, "templates.yaml", "{bad: {image: a}, fine: {image: own}}")}, out: out}.sample(r, config)
	require.NoError(t, err)
	require.NotEmpty(t, sample.Objects)
	require.Contains(t, out.String(), "warning: sessions could start from templates.fine, but not from")
	_, err = job{options: options{templates: file(t, "templates.yaml", "{bad: {image: a}}")}, out: out}.sample(r, config)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "hooks.check=false leaves this check out")
}

// TestBadTemplatesWarn: no template stands in the way, not even one that is none.
func TestBadTemplatesWarn(t *testing.T) {
	r, err := renderer.New()
	require.NoError(t, err)
	config := platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}.WithDefaults()
	for templates, want := range map[string]string{
		"{fine: {image: a}}": "",
		"{fine: {image: a}, bad: {image: a, values: {pod: {shmSize: 2}}}}": "warning: templates.bad: no session could start from it: ",
		"{fine: {imge: a}}": `warning: refused: templates: unknown field "fine.imge"`,
	} {
		out := &bytes.Buffer{}
		require.NoError(t, job{options: options{templates: file(t, "templates.yaml", templates)}, out: out}.warnOfTemplates(r, config))
		if want == "" {
			assert.Empty(t, out.String())
		}
		assert.Contains(t, out.String(), want)
	}
	require.NoError(t, job{options: options{templates: t.TempDir() + "/none"}, out: discard{}}.warnOfTemplates(r, config), "the values name none")
}

func TestStorageProblem(t *testing.T) {
	class := func(name, isDefault string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{defaultClass: isDefault}}}
	}
	for want, c := range map[string]struct {
		wanted  *string
		classes []storagev1.StorageClass
	}{
		"has no default StorageClass":     {nil, []storagev1.StorageClass{class("slow", "false")}},
		"which the cluster does not have": {new("fast"), []storagev1.StorageClass{class("slow", "true")}},
	} {
		assert.Contains(t, storageProblem(c.wanted, c.classes), want)
	}
	assert.Empty(t, storageProblem(nil, []storagev1.StorageClass{class("slow", "true")}))
	assert.Empty(t, storageProblem(new("slow"), []storagev1.StorageClass{class("slow", "false")}))
	assert.Empty(t, storageProblem(new(""), nil), "volumes that are bound by hand")
}

// TestHomeOf: the claim in a sample names the class of the settings.
func TestHomeOf(t *testing.T) {
	r, err := renderer.New()
	require.NoError(t, err)
	for storage, want := range map[string]*string{"": nil, "fast": new("fast")} {
		config := platform.Config{Sessions: platform.Sessions{Domain: "vdi.example.com"}}
		if storage != "" {
			config.Sessions.Values = map[string]any{"home": map[string]any{"persistence": map[string]any{"storageClassName": storage}}}
		}
		sample, err := r.Sample(&vdi.VDITemplate{Spec: vdi.VDITemplateSpec{Image: "a"}}, config.WithDefaults())
		require.NoError(t, err)
		home, err := homeOf(sample)
		require.NoError(t, err)
		require.NotNil(t, home)
		assert.Equal(t, want, home.Spec.StorageClassName)
	}
	none, err := homeOf(renderer.Rendered{})
	require.NoError(t, err)
	assert.Nil(t, none)
}

func TestMissingKinds(t *testing.T) {
	config := platform.Config{}
	assert.Len(t, missingKinds(config, []metav1.APIGroup{{Name: "apps"}}), 1)
	traefik := []metav1.APIGroup{{Name: "traefik.io"}}
	assert.Empty(t, missingKinds(config, traefik))
	config.TimeSlicing.Enabled = true
	require.Len(t, missingKinds(config, traefik), 1)
	assert.Contains(t, missingKinds(config, traefik)[0], "gpuSharing.enabled is on, but the cluster does not know NVIDIA's ClusterPolicy")
	assert.Empty(t, missingKinds(config, append(traefik, metav1.APIGroup{Name: "nvidia.com"})))
}

func TestPluginOf(t *testing.T) {
	assert.Equal(t, "Calico", pluginOf([]metav1.APIGroup{{Name: "apps"}, {Name: "crd.projectcalico.org"}}))
	assert.Empty(t, pluginOf([]metav1.APIGroup{{Name: "apps"}}))
}
