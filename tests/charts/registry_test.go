package charts

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/platform"
	"github.com/vdi-platform/vdi-platform/renderer"
)

// TestImageRegistry: one value brings every image of the platform from one registry, with
// both helms: pods, Jobs and the agent beside a desktop.
func TestImageRegistry(t *testing.T) {
	t.Parallel()
	const registry = "registry.example.com:5000/vdi"
	s := platformChart(map[string]string{
		"global.imageRegistry": registry, "coturn.enabled": "true", "coturn.realm": "turn.example.com",
		"vdi-operator.sessions.turn.host": "turn.example.com", "gpu-operator.enabled": "false", "vdi-operator.gpuSharing.enabled": "false",
	}, inRepository("values", "local.yaml"))
	args := append([]string{"template", "vdi", s.chart, "--namespace", releaseNamespace}, offline()...)
	for name, value := range s.set {
		args = append(args, "--set", name+"="+value)
	}
	for _, file := range s.files {
		args = append(args, "--values", file)
	}
	for _, manifests := range []string{mustRender(t, s), helm4(t, args...)} {
		require.Equal(t, []string{
			registry + "/coturn/coturn:4.17.0-r0", registry + "/vdi-platform/traefik:dev", registry + "/vdi-platform/vdi-operator:dev",
		}, imagesOf(t, manifests))
	}
}

// TestOperatorImage: what global.operatorImage says is what all parts run, whatever their own
// values say of it.
func TestOperatorImage(t *testing.T) {
	t.Parallel()
	const (
		theirs = "registry.example.com/mine"
		ours   = "ghcr.io/vdi-platform/vdi-operator"
		sum    = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		old    = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
	)
	for _, c := range []struct{ repository, tag, digest, ownTag, ownDigest, want string }{
		{want: ours + ":0.1.0"},
		{ownTag: "v1", want: ours + ":v1"},
		{ownTag: "v1", ownDigest: old, want: ours + "@" + old},
		{repository: theirs, want: theirs + ":0.1.0"},
		{repository: theirs, ownTag: "v1", ownDigest: old, want: theirs + ":0.1.0"},
		{repository: theirs, tag: "v2", ownTag: "v1", ownDigest: old, want: theirs + ":v2"},
		{repository: theirs, digest: sum, ownTag: "v1", ownDigest: old, want: theirs + "@" + sum},
		{repository: theirs, tag: "v2", digest: sum, want: theirs + "@" + sum},
		{tag: "v2", want: ours + ":v2"},
		{tag: "v2", ownTag: "v1", ownDigest: old, want: ours + ":v2"},
		{digest: sum, ownTag: "v1", ownDigest: old, want: ours + "@" + sum},
		{tag: "v2", digest: sum, ownDigest: old, want: ours + "@" + sum},
	} {
		set := func(own string) map[string]string {
			return map[string]string{
				"global.operatorImage.repository": c.repository, "global.operatorImage.tag": c.tag, "global.operatorImage.digest": c.digest,
				own + ".tag": c.ownTag, own + ".digest": c.ownDigest,
			}
		}
		require.Equal(t, []string{c.want}, imagesOf(t, mustRender(t, operator(set("image")))), "%+v", c)
		require.ElementsMatch(t, []string{"docker.io/coturn/coturn:4.17.0-r0", c.want}, imagesOf(t, mustRender(t, relay(set("tool.image")))), "%+v", c)
	}
}

// imagesOf are the images of all containers, and the agent's, sorted.
func imagesOf(t *testing.T, manifests string) (images []string) {
	t.Helper()
	for _, obj := range decode(t, manifests) {
		for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}, {"spec"}} {
			spec, _ := below(obj.Object, path...).(map[string]any)
			for _, key := range []string{"containers", "initContainers"} {
				containers, _ := spec[key].([]any)
				for _, c := range containers {
					images = append(images, c.(map[string]any)["image"].(string))
				}
			}
		}
		if config := configOf(t, obj.Object); config.Sessions.Agent.Image != "" {
			images = append(images, config.Sessions.Agent.Image)
		}
	}
	require.NotEmpty(t, images)
	slices.Sort(images)
	return slices.Compact(images)
}

func below(object map[string]any, path ...string) any {
	value := any(object)
	for _, name := range path {
		m, _ := value.(map[string]any)
		value = m[name]
	}
	return value
}

// configOf is the operator's configuration in a ConfigMap, or nothing.
func configOf(t *testing.T, object map[string]any) (config platform.Config) {
	t.Helper()
	if text, found := below(object, "data", "config.yaml").(string); found && object["kind"] == "ConfigMap" {
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &config))
	}
	return config
}

// TestImageRegistryNames: the registry takes the place of a host and of nothing else, also
// where images lie there already, and comes before a digest.
func TestImageRegistryNames(t *testing.T) {
	t.Parallel()
	const sum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for repository, want := range map[string]string{
		"ghcr.io/vdi-platform/vdi-operator":      "localhost:5000/mine/vdi-platform/vdi-operator",
		"localhost/vdi-operator":                 "localhost:5000/mine/vdi-operator",
		"registry:5000/a/vdi-operator":           "localhost:5000/mine/a/vdi-operator",
		"vdi-platform/vdi-operator":              "localhost:5000/mine/vdi-platform/vdi-operator",
		"vdi-operator":                           "localhost:5000/mine/vdi-operator",
		"localhost:5000/mine/x/vdi-operator":     "localhost:5000/mine/x/vdi-operator",
		"localhost:5000/other/x/vdi-operator":    "localhost:5000/mine/other/x/vdi-operator",
		"localhost:5000/mine-too/x/vdi-operator": "localhost:5000/mine/mine-too/x/vdi-operator",
	} {
		set := map[string]string{"global.imageRegistry": "localhost:5000/mine", "image.repository": repository}
		require.Equal(t, []string{want + ":0.1.0"}, imagesOf(t, mustRender(t, operator(set))))
		set["image.digest"] = sum
		require.Equal(t, []string{want + "@" + sum}, imagesOf(t, mustRender(t, operator(set))))
	}
}

// TestImageRegistryOfDesktops: templates keep their public names, and the operator's own
// renderer takes them from the registry, also from one on a public host.
func TestImageRegistryOfDesktops(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"registry.example.com", "ghcr.io/mine"} {
		for image, want := range map[string]string{
			"ghcr.io/selkies-project/selkies/example:v2.1.0-trixie": registry + "/selkies-project/selkies/example:v2.1.0-trixie",
			"docker.io/a/b:1":                    registry + "/a/b:1",
			"a/b":                                registry + "/a/b",
			"b":                                  registry + "/library/b",
			registry + "/a/b:1":                  registry + "/a/b:1",
			"other.example.com/desktops/kiosk:1": "other.example.com/desktops/kiosk:1",
			"special.example.com/kiosk:1":        "elsewhere.example.com/kiosk:1",
		} {
			objs := objects(t, operator(map[string]string{
				"global.imageRegistry": registry, `sessions.images.rewrite.special\.example\.com`: "elsewhere.example.com",
			}))
			var config platform.Config
			for _, obj := range objs {
				if found := configOf(t, obj.Object); found.Sessions.Domain != "" {
					config = found
				}
			}
			require.Equal(t, want, renderedImage(t, config, image))
		}
	}
}

// renderedImage is what a desktop of this image runs.
func renderedImage(t *testing.T, config platform.Config, image string) string {
	t.Helper()
	r, err := renderer.New()
	require.NoError(t, err)
	template := &vdi.VDITemplate{ObjectMeta: metav1.ObjectMeta{Name: "desktop"}, Spec: vdi.VDITemplateSpec{Image: image}}
	sample, err := r.Sample(template, config)
	require.NoError(t, err)
	for _, obj := range sample.Objects {
		if obj.GetKind() == "Pod" {
			containers := below(obj.Object, "spec", "containers").([]any)
			return containers[0].(map[string]any)["image"].(string)
		}
	}
	require.Fail(t, "no pod")
	return ""
}

// TestImageRegistryRefuses: what cannot work, and what disagrees.
func TestImageRegistryRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"scheme":        {map[string]string{"global.imageRegistry": "https://registry.example.com"}, `global.imageRegistry is "https://registry.example.com", which is no registry`},
		"no host":       {map[string]string{"global.imageRegistry": "team"}, `global.imageRegistry is "team", which is no registry`},
		"slash":         {map[string]string{"global.imageRegistry": "registry.example.com/"}, `global.imageRegistry is "registry.example.com/", which is no registry`},
		"other Traefik": {map[string]string{"global.imageRegistry": "registry.example.com", "traefik.image.registry": "other.example.com"}, `traefik.image.registry is "other.example.com", but global.imageRegistry is "registry.example.com": leave the first out, or give both the same registry`},
	} {
		_, err := render(t, platformChart(c.set))
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := render(t, platformChart(map[string]string{"global.imageRegistry": "registry.example.com", "traefik.image.registry": "registry.example.com"}))
	require.NoError(t, err)
}

// TestImageRegistryNotes: where Helm cannot pass the value on, the keys are named.
func TestImageRegistryNotes(t *testing.T) {
	t.Parallel()
	set := map[string]string{"global.imageRegistry": "registry.example.com"}
	const words = "global.imageRegistry does not reach the GPU Operator's images. These keys name another registry:\n"
	require.Contains(t, notesOf(t, platformChart(set)), words+"gpu-operator.ccManager.repository=nvcr.io/nvidia/cloud-native\n")
	whole := platformChart(map[string]string{"global.monitoring.enabled": "false"}, inRepository("values", "production.yaml"), inRepository("values", "air-gapped.yaml"))
	require.NotContains(t, notesOf(t, whole), words)
}
