package upgrade

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/install"
	"github.com/vdi-platform/vdi-platform/tests/registry"
	"github.com/vdi-platform/vdi-platform/tests/registry/local"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// TestYourOwnRegistry: images and chart are pushed into a real registry, the chart is
// installed from there, and global.imageRegistry alone lets every pod come from there too,
// a desktop's as well. It takes the place of the umbrella of the test before.
func TestYourOwnRegistry(t *testing.T) {
	w.must(t, "helm", "uninstall", "proxy", "-n", install.Namespace, "--wait", "--ignore-not-found")
	w.must(t, "kubectl", "delete", "tlsstores.traefik.io", "default", "-n", install.Namespace, "--ignore-not-found")
	base, digests := w.publish(t)
	templates, err := w.write("yours.yaml", map[string]any{"vdi-operator": map[string]any{"templates": map[string]any{"page": pageTemplate()}}})
	require.NoError(t, err)
	w.must(t, "helm", "install", install.Release, "oci://"+base+"/charts/vdi-platform", "--plain-http", "-n", install.Namespace, "--wait", "--timeout", "5m",
		"-f", filepath.Join(w.root, "values", "local.yaml"), "-f", templates, "--set", "global.imageRegistry="+base, "--set", "vdi-operator.access.mode=Password,vdi-operator.portal.namespace=")
	t.Cleanup(func() {
		out, err := w.try(context.WithoutCancel(t.Context()), "helm", "uninstall", install.Release, "-n", install.Namespace, "--wait")
		assert.NoError(t, err, out)
	})

	dave := await(t, start(t, "dave"), install.Running)
	user, password, err := w.Credentials(t.Context(), dave)
	require.NoError(t, err)
	answer, err := w.Get(t.Context(), dave.Status.URL, w.ProxyOnNode(), user, password)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, "<title>page</title>\n", answer.Body)
	w.requirePulledFrom(t, base, digests)
	w.must(t, "kubectl", "delete", "vdi", "dave", "-n", install.Sessions, "--timeout=2m")
}

// publish pushes what a release of the local cluster is into a registry that the node may
// pull from. It returns what global.imageRegistry is to be, and the digests of the images.
func (w *world) publish(t *testing.T) (base string, digests map[string]string) {
	t.Helper()
	running, err := local.Start(t.Context(), local.Options{Host: w.Cluster.HostIP().String()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, running.Stop()) })
	require.NoError(t, w.Cluster.PullPlain(running.Address))
	base, digests = running.Address+"/team/vdi", map[string]string{}
	r, err := registry.New(base, true)
	require.NoError(t, err)
	say := func(p registry.Pushed) { digests[p.Name] = p.Digest }
	require.NoError(t, r.PushImages(t.Context(), say, w.joined(t, "vdi-operator"), w.archive("traefik"), w.archive("page")))
	chart, err := standins.Assemble(t.Context(), t.TempDir())
	require.NoError(t, err)
	out := t.TempDir()
	w.must(t, "helm", "package", chart, "--destination", out)
	archives, err := filepath.Glob(filepath.Join(out, "*.tgz"))
	require.NoError(t, err)
	require.NoError(t, r.PushCharts(t.Context(), func(registry.Pushed) {}, "charts", archives...))
	return base, digests
}

func (w *world) archive(name string) string {
	return filepath.Join(w.root, "bin", "images", name+".tar")
}

// joined is an archive in the form of a release, an index, of this machine's architecture.
func (w *world) joined(t *testing.T, name string) string {
	t.Helper()
	opened, err := image.Open(w.archive(name), t.TempDir())
	require.NoError(t, err)
	index, err := image.Join(opened.Content.(v1.Image))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), name+".tar")
	require.NoError(t, image.WriteFile(file, opened.Name, index))
	return file
}

// requirePulledFrom looks at every container of platform and desktop: the kubelet pulled
// its image from the registry, and it is the one that was pushed.
func (w *world) requirePulledFrom(t *testing.T, base string, digests map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, namespace := range []string{install.Namespace, install.Sessions} {
		var pods corev1.PodList
		require.NoError(t, w.Client.List(t.Context(), &pods, client.InNamespace(namespace)))
		require.NotEmpty(t, pods.Items, namespace)
		for _, pod := range pods.Items {
			for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
				digest := digests[status.Image]
				require.NotEmpty(t, digest, "%s/%s runs %s, which nobody pushed to %s", namespace, pod.Name, status.Image, base)
				require.True(t, strings.HasSuffix(status.ImageID, "@"+digest), "%s is %s, want %s", status.Image, status.ImageID, digest)
				seen[status.Image] = true
			}
		}
	}
	require.Len(t, seen, len(digests), "every image that was pushed runs: %v", seen)
	var events corev1.EventList
	require.NoError(t, w.Client.List(t.Context(), &events))
	for image := range digests {
		pulled := false
		for _, event := range events.Items {
			pulled = pulled || event.Reason == "Pulled" && strings.Contains(event.Message, fmt.Sprintf("Successfully pulled image %q", image))
		}
		require.True(t, pulled, "the node pulled %s", image)
	}
}
